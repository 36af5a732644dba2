"""Log records whose texts tests may look at."""
import logging


class Record(logging.LogRecord):
    """Has its text from the start.

    Otherwise it gets that from the first handler that has a format, of which
    there is none here. ZEO's client-config.test looks at the texts of errors
    that the client may log just then.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        try:
            self.message = self.getMessage()
        except Exception as error:      # handlers will tell it, too
            self.message = f'{self.msg}: {error}'


def install():
    logging.setLogRecordFactory(Record)

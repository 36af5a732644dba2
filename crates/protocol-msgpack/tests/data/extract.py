#!/usr/bin/env python3
"""Make golden.txt of a recorded session with ZEO 6.2 (wireprobe.py's --raw output).

    extract.py TRANSCRIPT > golden.txt

Each line is `CONNECTION > HEX` for what a client sent and `CONNECTION < HEX` for what the server
sent; a handshake starts a connection anew and is left out, titles become comments. The sessions
were recorded once in each encoding (protocol-pickle/tests/data has the other), with a FileStorage
with blobs that leaves conflicts to clients.
"""
import re
import sys

direction = None
for line in open(sys.argv[1]):
    title = re.match(r'#+ (.*)', line)
    message = re.match(r'  (\w+) +(->|<-) (.*)', line)
    raw = re.match(r' +raw ([0-9a-f]+)$', line)
    if title:
        print('#', title[1])
    elif message and message[3].startswith('handshake'):
        if message[2] == '<-':
            print(message[1], '=')
    elif message:
        direction = message[1] + ' ' + ('>' if message[2] == '->' else '<')
    elif raw:
        print(direction, raw[1])

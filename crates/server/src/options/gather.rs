//! Options from all places where they are given: the command line, then the configuration file,
//! then the environment. The first one that has an option decides.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Id};
use codecs::Dialect;

use super::Options;
use crate::config::{self, Notice, Place, Setting, Source};
use crate::storages::{Named, beside};

/// What was asked for, and what is to be told about it.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) options: Options,
    pub(crate) notices: Vec<Notice>,
}

/// Reads all places. `arguments` begins with the program's name.
///
/// What `--help` and `--version` print comes as a [`clap::Error`].
pub(crate) fn gather(
    name: &'static str,
    arguments: Vec<OsString>,
    source: &dyn Source,
) -> anyhow::Result<Gathered> {
    let command = Options::command().name(name);
    // An option may need another one that stands elsewhere.
    let scout = command.clone().mut_args(|option| option.requires(Resettable::<Id>::Reset));
    let matches = scout.clone().try_get_matches_from(&arguments).map_err(explained)?;
    let is_given = |option: &str| is_from_user(&matches, option);

    let mut gathered = Vec::new();
    let mut notices = Vec::new();
    let mut origin = None;
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        let is_overridden = |option: &str| same_kind(option).any(is_given);
        let file = config::load(path, source, &command, &is_given)?;
        check_each(&scout, name, &file.options)?;
        gathered.extend(file.options.into_iter().filter(|one| !is_overridden(&one.option)));
        notices = file.notices;
        origin = Some(Place::file(path));
    }
    let variables = ENVIRONMENT.iter().filter_map(|(variable, option)| {
        let value = source.variable(variable).filter(|value| !value.is_empty())?;
        let is_known =
            is_given(option) || gathered.iter().any(|one: &Setting| one.option == *option);
        (!is_known).then(|| Place::named(variable).set(option, value))
    });
    let variables: Vec<_> = variables.collect();
    check_each(&scout, name, &variables)?;
    gathered.extend(variables);

    let mut arguments = arguments.into_iter();
    let all = arguments.next().into_iter().chain(gathered.iter().map(argument)).chain(arguments);
    let matches = command.try_get_matches_from(all).map_err(|error| match &origin {
        Some(file) => anyhow::Error::new(file.wrong(first_line(&error))),
        None => explained(error),
    })?;
    let mut options = Options::from_arg_matches(&matches).map_err(explained)?;
    settle(&mut options, &matches, &mut notices);
    Ok(Gathered { options, notices })
}

/// Tells of a wrong value where it stands.
fn check_each(scout: &Command, name: &str, settings: &[Setting]) -> Result<(), config::Wrong> {
    for setting in settings {
        let arguments = [OsString::from(name), argument(setting)];
        if let Err(error) = scout.clone().try_get_matches_from(arguments) {
            return Err(setting.at.wrong(first_line(&error)));
        }
    }
    Ok(())
}

fn argument(setting: &Setting) -> OsString {
    format!("--{}={}", setting.option, setting.value).into()
}

/// The options that say the same thing, this one included: a user who says it with one of them
/// does not want what a file says with another.
fn same_kind(option: &str) -> impl Iterator<Item = &str> {
    let kinds = [["listen", "address"], ["storage", "filename"]];
    let kind = kinds.into_iter().find(|kind| kind.contains(&option));
    kind.unwrap_or([option, option]).into_iter()
}

fn is_from_user(matches: &ArgMatches, option: &str) -> bool {
    // An option's identifier is its name as Rust writes it.
    matches.value_source(&option.replace('-', "_")) == Some(ValueSource::CommandLine)
}

/// Puts what was said as runzeo says it to the rest.
fn settle(options: &mut Options, matches: &ArgMatches, notices: &mut Vec<Notice>) {
    if let Some(address) = &options.address {
        if !is_from_user(matches, "listen") {
            options.listen.clear();
        }
        let dialect = if options.msgpack { Dialect::MsgPack } else { Dialect::Pickle };
        options.listen.push(address.endpoint(dialect));
    }
    if !options.filename.is_empty() && !is_from_user(matches, "storage") {
        options.storage.clear();
    }
    for (index, file) in options.filename.iter().enumerate() {
        let kind = storage::Kind::File(beside(file));
        let location = storage::Location { kind, blobs: None };
        options.storage.push(Named { name: (index + 1).to_string(), location });
        let what = config::left_alone(&file.display().to_string(), None);
        notices.push(Place::named("--filename").note(what));
    }
}

/// Help stays what it is, and an error becomes one line.
fn explained(error: clap::Error) -> anyhow::Error {
    if error.use_stderr() { anyhow!(first_line(&error)) } else { error.into() }
}

/// The part of clap's message that says what is wrong; usage and tips stay in `--help`.
fn first_line(error: &clap::Error) -> String {
    let message = error.to_string();
    let what = message.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = what.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// Variables that say what an option says, where nobody else says it. `ZEO_PORT` and
/// `ZEO_PACK_KEEP_OLD` are known to `zeo.conf` only: a port is no address, and packing leaves
/// nothing to keep.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("ZEO_READ_ONLY", "read-only"),
    ("ZEO_INVALIDATION_QUEUE_SIZE", "invalidation-queue-size"),
    ("ZEO_MSGPACK", "msgpack"),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// One file, and one variable.
    struct Fake(&'static str, &'static str, &'static str);

    impl Source for Fake {
        fn read(&self, _: &Path) -> Result<String, String> {
            Ok(self.0.to_owned())
        }

        fn variable(&self, name: &str) -> Option<String> {
            (name == self.1).then(|| self.2.to_owned())
        }
    }

    fn options(source: &Fake, arguments: &str) -> Result<Options, String> {
        let words = ["zeoxide"].into_iter().chain(arguments.split_whitespace());
        gather("zeoxide", words.map(OsString::from).collect(), source)
            .map(|gathered| gathered.options)
            .map_err(|error| format!("{error:#}"))
    }

    fn listens(options: &Options) -> Vec<String> {
        options.listen.iter().map(ToString::to_string).collect()
    }

    fn storages(options: &Options) -> Vec<&str> {
        options.storage.iter().map(|named| named.name.as_str()).collect()
    }

    #[test]
    fn addresses_and_listeners_replace_each_other_across_places() {
        let toml = Fake("listen = 'zeo://h:1'\naddress = 'h:2'\nmsgpack = true", "", "");
        for (arguments, expected) in [
            ("-Cf", &["zeo://h:1", "zeo+msgpack://h:2"][..]),
            ("-Cf --listen zeo://h:3", &["zeo://h:3"]),
            ("-Cf -a h:3", &["zeo+msgpack://h:3"]),
            ("-Cf -a h:3 --msgpack=no", &["zeo://h:3"]),
            ("-a /z --listen zeo://h:1", &["zeo://h:1", "zeo+unix:///z"]),
        ] {
            assert_eq!(listens(&options(&toml, arguments).unwrap()), expected, "{arguments}");
        }
        let variable = Fake("", "ZEO_MSGPACK", "1");
        assert_eq!(listens(&options(&variable, "-a h:1").unwrap()), ["zeo+msgpack://h:1"]);
        assert_eq!(listens(&options(&variable, "").unwrap())[0], "zeo://127.0.0.1:8100");
    }

    #[test]
    fn storages_and_files_replace_each_other_across_places() {
        let toml = Fake("[storage]\nx = 'memory:'", "", "");
        for (arguments, expected) in [
            ("-Cf", &["x"][..]),
            ("-Cf -f a.fs -f b.fs", &["1", "2"]),
            ("-Cf --storage=y=memory:", &["y"]),
            ("-f a.fs --storage=y=memory:", &["y", "1"]),
        ] {
            assert_eq!(storages(&options(&toml, arguments).unwrap()), expected, "{arguments}");
        }
    }

    #[test]
    fn the_environment_comes_last_and_may_be_empty() {
        let variable = |value| Fake("read-only = false", "ZEO_READ_ONLY", value);
        for (value, arguments, expected) in [
            ("yes", "", true),
            ("", "", false),
            ("true", "-Cf", false),
            ("true", "-Cf --read-only", true),
            ("true", "--read-only=off", false),
        ] {
            let read = options(&variable(value), arguments).unwrap();
            assert_eq!(read.read_only, expected, "{value:?} {arguments}");
        }
        let wrong = options(&variable("maybe"), "").unwrap_err();
        assert!(wrong.starts_with("ZEO_READ_ONLY: invalid value 'maybe'"), "{wrong}");
    }

    #[test]
    fn options_that_need_each_other_may_stand_apart() {
        let toml = Fake("tls-cert = 'c.pem'", "", "");
        let tls = options(&toml, "-Cf --tls-key=k.pem").unwrap().tls;
        assert_eq!(tls.tls_cert.unwrap().to_str(), Some("c.pem"));
        let wrong = options(&toml, "--tls-key=k.pem").unwrap_err();
        assert!(wrong.contains("--tls-cert <FILE>"), "{wrong}");
    }

    #[test]
    fn the_variables_of_the_image_have_its_defaults() {
        // Unless whoever runs this test has set it.
        let kept = std::env::var("ZEO_PACK_KEEP_OLD").unwrap_or_else(|_| "true".to_owned());
        assert_eq!(config::System.variable("ZEO_PACK_KEEP_OLD"), Some(kept));
        assert_eq!(config::System.variable("ZEOXIDE_NO_SUCH_VARIABLE"), None);
    }
}

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Files and variables in memory.
struct Fake(BTreeMap<&'static str, &'static str>);

impl Source for Fake {
    fn read(&self, path: &Path) -> Result<String, String> {
        let name = path.to_str().unwrap();
        self.0.get(name).map(ToString::to_string).ok_or_else(|| "it is not there".to_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(ToString::to_string)
    }
}

fn parse_with<const N: usize>(
    text: &str,
    known: [(&'static str, &'static str); N],
) -> Result<Document, Wrong> {
    parse(Path::new("etc/zeo.conf"), text, &Fake(known.into()))
}

/// A section in one line, with the lines of its parts.
fn shape(section: &Section) -> String {
    let mut text = section.kind.clone();
    if let Some(name) = &section.name {
        text = format!("{text} {name}");
    }
    for Key { name, value, at } in &section.keys {
        text.push_str(&format!(" [{name}={value} {at}]"));
    }
    for inner in &section.sections {
        text.push_str(&format!(" ({})", shape(inner)));
    }
    text
}

fn shape_of<const N: usize>(text: &str, known: [(&'static str, &'static str); N]) -> String {
    shape(&parse_with(text, known).unwrap().root)
}

fn complaint<const N: usize>(text: &str, known: [(&'static str, &'static str); N]) -> String {
    parse_with(text, known).unwrap_err().to_string()
}

#[test]
fn sections_keys_and_comments_become_a_tree_with_lines() {
    let text = "\
# a comment
<ZEO>
  Address  localhost:8100
  read-only
  # monitor-address 1
  <ssl/>
</zeo >

<FileStorage Main >
\tpath\t/data/a b.fs # no comment
  format %(asctime)s %(message)s
  parens(x) y
</filestorage>
<empty named/>
";
    assert_eq!(
        shape_of(text, []),
        " (zeo [address=localhost:8100 etc/zeo.conf:3] [read-only= etc/zeo.conf:4] (ssl)) \
         (filestorage main [path=/data/a b.fs # no comment etc/zeo.conf:10] \
         [format=%(asctime)s %(message)s etc/zeo.conf:11] [parens=(x) y etc/zeo.conf:12]) \
         (empty named)"
    );
}

#[test]
fn names_are_replaced_by_what_was_defined() {
    let text = "\
%define INSTANCE /app
%define var $INSTANCE/var
%define nothing
%define INSTANCE /app
a $instance/x ${VAR}y$nothing.
b $(PORT) costs 5$$ $$instance
";
    assert_eq!(
        shape_of(text, [("PORT", "8100")]),
        " [a=/app/x /app/vary. etc/zeo.conf:5] [b=8100 costs 5$ $instance etc/zeo.conf:6]"
    );
}

#[test]
fn files_are_included_where_they_stand_and_share_definitions() {
    let text = "\
%define dir more
<zeo>
  %include $dir/zeo-part.conf
</zeo>
x $late
%include file:///abs.conf
";
    let known = [
        ("etc/more/zeo-part.conf", "address 1\n%include deeper.conf\n"),
        ("etc/more/deeper.conf", "%define late yes\nread-only $LATE"),
        ("/abs.conf", "<storage/>"),
    ];
    assert_eq!(
        shape_of(text, known),
        " [x=yes etc/zeo.conf:5] (zeo [address=1 etc/more/zeo-part.conf:1] \
         [read-only=yes etc/more/deeper.conf:2]) (storage)"
    );
}

#[test]
fn imports_are_told() {
    let document = parse_with("%import ZEO\n<a>\n%import zc.zrs\n</a>", []).unwrap();
    let told: Vec<_> = document.imports.iter().map(|(what, at)| format!("{what} {at}")).collect();
    assert_eq!(told, ["ZEO etc/zeo.conf:1", "zc.zrs etc/zeo.conf:3"]);
}

#[test]
fn errors_name_file_and_line() {
    for (text, complains) in [
        ("\n<zeo", "etc/zeo.conf:2: there is no '>'"),
        ("<zeo>\n</zeo", "etc/zeo.conf:2: there is no '>'"),
        // As ZConfig has it: only '/>' without a blank ends an empty section.
        ("<zeo/ >", "etc/zeo.conf:1: <zeo/> is not ended by </zeo/>"),
        ("<>", "etc/zeo.conf:1: a section begins with"),
        ("< zeo>", "etc/zeo.conf:1: a section begins with"),
        ("<a b c>", "etc/zeo.conf:1: a section begins with"),
        ("<a b(c)>", "etc/zeo.conf:1: a section begins with"),
        ("\n<zeo>\n<a/>", "etc/zeo.conf:2: <zeo> is not ended by </zeo>"),
        ("</zeo>", "etc/zeo.conf:1: </zeo> ends no section"),
        ("<zeo>\n</runner>", "etc/zeo.conf:2: </runner> where <zeo> of etc/zeo.conf:1 is open"),
        ("(x) y", "etc/zeo.conf:1: this is no key"),
        ("%", "etc/zeo.conf:1: '%' is none of %define"),
        ("%DEFINE a b", "etc/zeo.conf:1: '%DEFINE' is none of"),
        ("%define", "etc/zeo.conf:1: '%define' of what?"),
        ("%define 1a b", "etc/zeo.conf:1: '1a' is no name"),
        ("%define a b\n%define A c", "etc/zeo.conf:2: 'A' was defined before, as 'b'"),
        ("a $b", "etc/zeo.conf:1: 'b' was not defined: %define b VALUE"),
        ("a $(B)", "etc/zeo.conf:1: the environment has no variable B"),
        ("a b$", "etc/zeo.conf:1: '$' is not followed by a name"),
        ("a ${}", "etc/zeo.conf:1: '${' is not followed by a name"),
        ("%define x 1\na ${x", "etc/zeo.conf:2: '${x' is not followed by '}'"),
        ("a $(x}", "etc/zeo.conf:1: '$(x' is not followed by ')'"),
        ("%include x.conf", "etc/zeo.conf:1: cannot include etc/x.conf: it is not there"),
        ("%include http://x/y", "etc/zeo.conf:1: cannot include http://x/y: only files"),
        ("%include loop", "etc/loop:1: cannot include loop: too many files"),
        ("%include twice", "etc/twice:1: cannot include twice: too many files"),
        ("<a>\n%include end", "etc/end:1: </a> ends no section that this file began"),
        ("%include begin\n</a>", "etc/begin:1: <a> is not ended"),
    ] {
        let known = [
            ("etc/loop", "%include loop"),
            ("etc/twice", "%include twice\n%include twice"),
            ("etc/end", "</a>"),
            ("etc/begin", "<a>"),
        ];
        let told = complaint(text, known);
        assert!(told.starts_with(complains), "{text:?}: {told}");
    }
}

#[test]
fn what_grows_without_end_is_refused() {
    let mut text = "%define a0 0123456789\n".to_owned();
    for index in 1..100 {
        text.push_str(&format!("%define a{index} $a{0}$a{0}\n", index - 1));
    }
    assert!(complaint(&text, []).contains("longer than 65536 bytes"));
    assert!(complaint(&"<a>\n".repeat(1000), []).contains("more than 32 sections"));
}

proptest! {
    #[test]
    fn a_tree_that_is_written_is_read_back(root in sections()) {
        let text: String = root.iter().map(written).collect();
        let read = parse_with(&text, []).unwrap().root.sections;
        prop_assert_eq!(
            read.iter().map(plain).collect::<Vec<_>>(),
            root
        );
    }

    #[test]
    fn no_text_does_harm(text in "([<>/%$(){}#a-c \\n]|%define |%include f\\n|</a>\\n|<a>\\n|.){0,60}") {
        _ = parse_with(&text, [("etc/f", "<a>\n$b\n</a>\n%include f"), ("a", "$(a)")]);
    }
}

/// A section without its places.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    kind: String,
    name: Option<String>,
    keys: Vec<(String, String)>,
    sections: Vec<Self>,
}

fn plain(section: &Section) -> Plain {
    let Section { kind, name, keys, sections, at: _ } = section;
    Plain {
        kind: kind.clone(),
        name: name.clone(),
        keys: keys.iter().map(|key| (key.name.clone(), key.value.clone())).collect(),
        sections: sections.iter().map(plain).collect(),
    }
}

fn written(section: &Plain) -> String {
    let Plain { kind, name, keys, sections } = section;
    let name = name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let keys: String =
        keys.iter().map(|(key, value)| format!(" {key}  {}\n", value.replace('$', "$$"))).collect();
    let inner: String = sections.iter().map(written).collect();
    format!("<{kind}{name}>\n{keys}{inner}</{kind}>\n")
}

fn sections() -> impl Strategy<Value = Vec<Plain>> {
    let word = "[a-z][a-z0-9-]{0,5}";
    let keys = proptest::collection::vec((word, "([!-~]([ -~]{0,8}[!-~])?)?"), 0..3);
    let leaf = (word, proptest::option::of(word), keys).prop_map(|(kind, name, keys)| Plain {
        kind,
        name,
        keys,
        sections: Vec::new(),
    });
    let section = leaf.prop_recursive(3, 12, 3, |inner| {
        (inner.clone(), proptest::collection::vec(inner, 0..3))
            .prop_map(|(outer, sections)| Plain { sections, ..outer })
    });
    proptest::collection::vec(section, 0..3)
}

//! The lines of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::substitute::{is_name, substitute};
use super::{Document, Key, Place, Section, Source, Wrong};

/// Reads `text`, which is the content of `path`, and what it includes.
pub(in crate::config) fn parse(
    path: &Path,
    text: &str,
    source: &dyn Source,
) -> Result<Document, Wrong> {
    let file = File { path: path.to_owned(), place: Place::file(path), depth: 0 };
    let mut parser = Parser {
        source,
        defines: BTreeMap::new(),
        root: Section::new(String::new(), None, file.place.clone()),
        open: Vec::new(),
        imports: Vec::new(),
        included: 0,
    };
    parser.file(&file, text)?;
    Ok(Document { root: parser.root, imports: parser.imports })
}

struct Parser<'a> {
    source: &'a dyn Source,
    /// By their names in small letters; files that are included share them.
    defines: BTreeMap<String, String>,
    root: Section,
    /// Sections that have begun and not ended, the innermost last.
    open: Vec<Section>,
    imports: Vec<(String, Place)>,
    included: usize,
}

struct File {
    path: PathBuf,
    place: Place,
    /// How many files include it, one inside another.
    depth: usize,
}

impl Parser<'_> {
    fn file(&mut self, file: &File, text: &str) -> Result<(), Wrong> {
        // Of the file that includes this one, which cannot end them.
        let outer = self.open.len();
        for (index, line) in text.lines().enumerate() {
            self.line(file, line.trim(), &file.place.line(index + 1), outer)?;
        }
        match self.open.get(outer..).and_then(<[_]>::last) {
            Some(open) => Err(open.at.wrong(format!("<{0}> is not ended by </{0}>", open.kind))),
            None => Ok(()),
        }
    }

    fn line(&mut self, file: &File, line: &str, at: &Place, outer: usize) -> Result<(), Wrong> {
        let no_end = || at.wrong("there is no '>' at the end");
        if line.is_empty() || line.starts_with('#') {
            Ok(())
        } else if let Some(rest) = line.strip_prefix("</") {
            self.end(rest.strip_suffix('>').ok_or_else(no_end)?.trim_end(), at, outer)
        } else if let Some(rest) = line.strip_prefix('<') {
            self.begin(rest.strip_suffix('>').ok_or_else(no_end)?, at)
        } else if let Some(rest) = line.strip_prefix('%') {
            self.directive(file, rest, at)
        } else {
            let (name, value) = split_key(line).ok_or_else(|| at.wrong("this is no key"))?;
            let key = Key {
                name: name.to_lowercase(),
                value: self.substitute(value, at)?,
                at: at.clone(),
            };
            self.inner().keys.push(key);
            Ok(())
        }
    }

    fn begin(&mut self, header: &str, at: &Place) -> Result<(), Wrong> {
        let (header, is_empty) = match header.strip_suffix('/') {
            Some(header) => (header, true),
            None => (header, false),
        };
        let mut words = header.split_whitespace();
        let (kind, name) = match (words.next(), words.next(), words.next()) {
            (Some(kind), name, None)
                if !header.starts_with(char::is_whitespace) && !header.contains(['(', ')']) =>
            {
                (kind.to_lowercase(), name.map(str::to_lowercase))
            }
            _ => return Err(at.wrong("a section begins with <TYPE> or <TYPE NAME>")),
        };
        if self.open.len() == MAX_DEPTH {
            return Err(at.wrong(format!("more than {MAX_DEPTH} sections inside one another")));
        }
        let section = Section::new(kind, name, at.clone());
        if is_empty {
            self.inner().sections.push(section);
        } else {
            self.open.push(section);
        }
        Ok(())
    }

    fn end(&mut self, kind: &str, at: &Place, outer: usize) -> Result<(), Wrong> {
        let wrong = || at.wrong(format!("</{kind}> ends no section that this file began"));
        if self.open.len() <= outer {
            return Err(wrong());
        }
        let ended = self.open.pop().ok_or_else(wrong)?;
        if ended.kind != kind.to_lowercase() {
            return Err(
                at.wrong(format!("</{kind}> where <{}> of {} is open", ended.kind, ended.at))
            );
        }
        self.inner().sections.push(ended);
        Ok(())
    }

    fn directive(&mut self, file: &File, rest: &str, at: &Place) -> Result<(), Wrong> {
        let (name, argument) = split_key(rest).unwrap_or(("", ""));
        if !["define", "import", "include"].contains(&name) {
            return Err(at.wrong(format!(
                "'%{name}' is none of %define NAME VALUE, %import PACKAGE and %include FILE"
            )));
        }
        if argument.is_empty() {
            return Err(at.wrong(format!("'%{name}' of what?")));
        }
        match name {
            "define" => self.define(argument, at),
            "import" => {
                let package = self.substitute(argument, at)?;
                self.imports.push((package, at.clone()));
                Ok(())
            }
            _ => self.include(file, argument, at),
        }
    }

    fn define(&mut self, argument: &str, at: &Place) -> Result<(), Wrong> {
        let (name, value) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
        if !is_name(name) {
            return Err(at.wrong(format!("'{name}' is no name: letters, digits and '_' make one")));
        }
        let value = self.substitute(value.trim_start(), at)?;
        let defined = self.defines.entry(name.to_lowercase()).or_insert_with(|| value.clone());
        if *defined == value {
            Ok(())
        } else {
            Err(at.wrong(format!("'{name}' was defined before, as '{defined}'")))
        }
    }

    fn include(&mut self, file: &File, argument: &str, at: &Place) -> Result<(), Wrong> {
        let target = self.substitute(argument, at)?;
        let target = target.strip_prefix("file://").unwrap_or(&target);
        if target.contains("://") {
            return Err(at.wrong(format!("cannot include {target}: only files can be included")));
        }
        self.included += 1;
        if file.depth == MAX_INCLUDE_DEPTH || self.included > MAX_INCLUDES {
            return Err(at.wrong(format!("cannot include {target}: too many files include files")));
        }
        let path = file.path.parent().unwrap_or_else(|| Path::new("")).join(target);
        let text = self
            .source
            .read(&path)
            .map_err(|why| at.wrong(format!("cannot include {}: {why}", path.display())))?;
        let place = Place::file(&path);
        self.file(&File { path, place, depth: file.depth + 1 }, &text)
    }

    fn substitute(&self, text: &str, at: &Place) -> Result<String, Wrong> {
        substitute(text, &self.defines, &|name| self.source.variable(name))
            .map_err(|what| at.wrong(what))
    }

    fn inner(&mut self) -> &mut Section {
        self.open.last_mut().unwrap_or(&mut self.root)
    }
}

/// A name, which has neither blanks nor parentheses, and what stands behind it.
fn split_key(line: &str) -> Option<(&str, &str)> {
    let is_end = |character: char| character.is_whitespace() || matches!(character, '(' | ')');
    let (name, value) = line.split_at(line.find(is_end).unwrap_or(line.len()));
    (!name.is_empty()).then(|| (name, value.trim_start()))
}

/// Sections inside one another.
const MAX_DEPTH: usize = 32;

/// Files that include one another.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Files that are included at all: two that include each other twice are more files than time.
const MAX_INCLUDES: usize = 256;

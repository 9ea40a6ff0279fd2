//! Sizes of files, functions and folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use super::finding::{Finding, Rule};

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 70;
const LARGEST_FOLDER: usize = 16;

/// The lines of a file that has too many.
pub(super) fn long_file(text: &str) -> Option<usize> {
    Some(text.lines().count()).filter(|lines| *lines > LONGEST_FILE)
}

/// The functions of a file that have too many lines: name, line, number of lines.
pub(super) fn long_functions(path: &Path, text: &str) -> Vec<(String, usize, usize)> {
    let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut finder = Finder::default();
    finder.visit_file(&tree);
    finder.long
}

/// Each folder with the number of its files.
pub(super) fn folders(files: &[PathBuf]) -> Vec<(PathBuf, usize)> {
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for folder in files.iter().filter_map(|file| file.parent()) {
        *folders.entry(folder).or_default() += 1;
    }
    folders.into_iter().map(|(folder, files)| (folder.to_owned(), files)).collect()
}

/// The findings about a folder: one for each file that is too many.
pub(super) fn large_folder(path: &Path, files: usize) -> impl Iterator<Item = Finding> {
    let finding =
        Finding { path: path.to_owned(), line: 0, rule: Rule::FolderSize, what: format!("{files} files") };
    std::iter::repeat_n(finding, files.saturating_sub(LARGEST_FOLDER))
}

#[derive(Default)]
struct Finder {
    long: Vec<(String, usize, usize)>,
}

impl Finder {
    fn add(&mut self, signature: &Signature, body: &Block) {
        let line = signature.span().start().line;
        let lines = body.span().end().line + 1 - line;
        if lines > LONGEST_FUNCTION {
            self.long.push((signature.ident.to_string(), line, lines));
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

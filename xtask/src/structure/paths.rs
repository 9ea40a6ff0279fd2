//! Which modules a module uses: its `use` declarations, and the paths in its code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemMod, ItemUse, UseTree, Visibility};

use super::modules::{Module, is_test};

type Modules = BTreeMap<Vec<String>, Module>;

/// One module uses an item of another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The module that uses.
    pub from: Vec<String>,
    /// The module in which the item is defined.
    pub to: Vec<String>,
    /// The path as it is written, from the crate's root.
    pub path: String,
    /// The file where it stands.
    pub file: PathBuf,
    /// The line in that file.
    pub line: usize,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, path, file, line, .. } = self;
        write!(f, "{}:{line}: {} uses {path}", file.display(), from.join("::"))
    }
}

/// All uses between the modules of a crate.
pub fn uses(modules: &Modules) -> BTreeSet<Use> {
    let exports: BTreeMap<_, _> =
        modules.iter().map(|(path, module)| (path, exports(module, modules))).collect();
    let mut all = BTreeSet::new();
    for (from, module) in modules {
        let mut finder = Finder { from, modules, inline: 0, found: Vec::new() };
        module.items.iter().for_each(|item| finder.visit_item(item));
        for (path, line) in finder.found {
            let to = definition(&path, modules, &exports, 8);
            if to != *from {
                let file = module.file.clone();
                all.insert(Use { from: from.clone(), to, path: path.join("::"), file, line });
            }
        }
    }
    all
}

/// The names that a module re-exports, with the paths that they stand for.
///
/// A glob would need the names of all items of its module: none re-exports by one, and [`exports`] refuses
/// it.
type Exports = BTreeMap<String, Vec<String>>;

fn exports(module: &Module, modules: &Modules) -> Exports {
    let mut exports = Exports::new();
    for item in &module.items {
        if let Item::Use(item) = item
            && !matches!(item.vis, Visibility::Inherited)
        {
            for (path, name) in flattened(item) {
                if let Some(path) = absolute(&path, &module.path, modules) {
                    assert_ne!(
                        name,
                        "*",
                        "{}: a re-export by a glob cannot be followed",
                        module.file.display()
                    );
                    exports.insert(name, path);
                }
            }
        }
    }
    exports
}

/// The module that defines what an absolute path names, through at most `depth` re-exports.
fn definition(
    path: &[String],
    modules: &Modules,
    exports: &BTreeMap<&Vec<String>, Exports>,
    depth: usize,
) -> Vec<String> {
    let len = (0..=path.len()).rev().find(|len| modules.contains_key(&path[..*len])).unwrap_or(0);
    let (module, rest) = path.split_at(len);
    if let Some(name) = rest.first()
        && depth > 0
        && let Some(target) = exports.get(&module.to_vec()).and_then(|exports| exports.get(name))
    {
        let target: Vec<_> = target.iter().chain(&rest[1..]).cloned().collect();
        return definition(&target, modules, exports, depth - 1);
    }
    module.to_vec()
}

/// A path from the crate's root; `None` for one that leads out of the crate, or names something local.
fn absolute(path: &[String], from: &[String], modules: &Modules) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let join = |base: &[String], rest: &[String]| base.iter().chain(rest).cloned().collect();
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some(join(from, rest)),
        "super" => {
            let above = from.split_last()?.1;
            match rest.first().map(String::as_str) {
                Some("super") => absolute(rest, above, modules),
                _ => Some(join(above, rest)),
            }
        }
        _ => {
            let child: Vec<_> = join(from, path);
            modules.contains_key(&child[..=from.len()]).then_some(child)
        }
    }
}

/// The paths of a `use`, each with the name that it gets.
fn flattened(item: &ItemUse) -> Vec<(Vec<String>, String)> {
    fn walk(tree: &UseTree, before: &[String], all: &mut Vec<(Vec<String>, String)>) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => walk(&path.tree, &with(path.ident.to_string()), all),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, before, all)),
            UseTree::Glob(_) => all.push((before.to_vec(), "*".to_owned())),
            UseTree::Name(name) if name.ident == "self" => {
                all.push((before.to_vec(), before.last().cloned().unwrap_or_default()));
            }
            UseTree::Name(name) => all.push((with(name.ident.to_string()), name.ident.to_string())),
            UseTree::Rename(rename) => {
                all.push((with(rename.ident.to_string()), rename.rename.to_string()));
            }
        }
    }
    let mut all = Vec::new();
    walk(&item.tree, &[], &mut all);
    all
}

struct Finder<'m> {
    from: &'m [String],
    modules: &'m Modules,
    /// Inline modules around the present item.
    inline: usize,
    /// Absolute paths, and the lines where they stand.
    found: Vec<(Vec<String>, usize)>,
}

impl Finder<'_> {
    fn add(&mut self, path: &[String], line: usize) {
        // In an inline module `super` is the file's own module, or another inline one.
        let supers = path.iter().take_while(|name| *name == "super").count();
        let path = &path[supers.min(self.inline)..];
        if let Some(path) = absolute(path, self.from, self.modules) {
            self.found.push((path, line));
        }
    }

    /// Adds the paths among the arguments of a macro, which are not parsed.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons, mut line) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => path.push(name.to_string()),
                TokenTree::Ident(name) => {
                    self.add_if_path(&path, line);
                    path = vec![name.to_string()];
                    line = name.span().start().line;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.add_if_path(&path, line);
                    path.clear();
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.add_if_path(&path, line);
                    path.clear();
                }
            }
            colons = 0;
        }
        self.add_if_path(&path, line);
    }

    fn add_if_path(&mut self, path: &[String], line: usize) {
        if path.len() > 1 {
            self.add(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for (path, _) in flattened(item) {
            self.add(&path, item.span().start().line);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_if_path(&names, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            self.inline += 1;
            visit::visit_item_mod(self, module);
            self.inline -= 1;
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.add_tokens(invocation.tokens.clone());
        visit::visit_macro(self, invocation);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(in path)` uses nothing.
    }
}

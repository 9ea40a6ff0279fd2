//! The modules of a crate, read through their `mod` declarations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item};

/// A module that is a file.
pub struct Module {
    /// Its path in the crate; empty for the root.
    pub path: Vec<String>,
    /// The file.
    pub file: PathBuf,
    /// Lines of the file.
    pub lines: usize,
    /// Its items, without tests.
    pub items: Vec<Item>,
}

impl Module {
    /// The path as one writes it.
    pub fn name(&self) -> String {
        if self.path.is_empty() { "(root)".to_owned() } else { self.path.join("::") }
    }
}

/// All modules of the crate whose root is this file, by their paths.
///
/// # Panics
///
/// A file that is declared does not exist, or does not parse.
pub fn crate_modules(root: &Path) -> BTreeMap<Vec<String>, Module> {
    let mut modules = BTreeMap::new();
    let folder = root.parent().expect("a file has a folder");
    read(root, folder, Vec::new(), &mut modules);
    modules
}

fn read(file: &Path, children: &Path, path: Vec<String>, modules: &mut BTreeMap<Vec<String>, Module>) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let tree = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut items = Vec::new();
    collect(tree.items, children, &path, &mut items, modules);
    let module = Module { path: path.clone(), file: file.to_owned(), lines: text.lines().count(), items };
    modules.insert(path, module);
}

/// Takes the items of a file; reads the files of the modules that it declares.
fn collect(
    from: Vec<Item>,
    children: &Path,
    path: &[String],
    items: &mut Vec<Item>,
    modules: &mut BTreeMap<Vec<String>, Module>,
) {
    for item in from {
        let Item::Mod(module) = item else {
            if !is_test(attributes(&item)) {
                items.push(item);
            }
            continue;
        };
        if is_test(&module.attrs) {
            continue;
        }
        let name = module.ident.to_string();
        if module.content.is_some() {
            items.push(Item::Mod(module));
            continue;
        }
        let (flat, folder) = (children.join(format!("{name}.rs")), children.join(&name));
        let file = if flat.exists() { flat } else { folder.join("mod.rs") };
        let path = path.iter().cloned().chain([name]).collect();
        read(&file, &folder, path, modules);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item exists in tests only: `#[cfg(test)]`.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

//! `cargo xtask fill`: puts what other tasks wrote into documents.
//!
//! What stands between `<!-- from out/sweep/sweep.md -->` and `<!-- end -->` becomes that file, and the
//! pictures that it shows are copied to `docs/pictures`. A file that has not been made is left out, and said
//! to be.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

/// Arguments of `cargo xtask fill`.
#[derive(Debug, Args)]
pub(crate) struct FillArgs {
    /// Documents to fill
    #[arg(required = true)]
    documents: Vec<PathBuf>,
}

const END: &str = "<!-- end -->";

/// Fills documents with the files that their marks name, below this folder.
///
/// # Errors
///
/// A file that cannot be read or written.
pub(crate) fn fill(args: &FillArgs, root: &Path) -> Result<(), String> {
    for path in &args.documents {
        let failed = |error| format!("{}: {error}", path.display());
        let path = path.canonicalize().map_err(failed)?;
        let text = fs::read_to_string(&path).map_err(failed)?;
        fs::write(&path, filled(&text, &path, root)?).map_err(failed)?;
    }
    Ok(())
}

fn filled(text: &str, document: &Path, root: &Path) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("<!-- from ") {
        let Some((name, after)) = after.split_once(" -->\n") else { break };
        let Some((old, after)) = after.split_once(END) else { break };
        let source = root.join(name);
        filled += &format!("{before}<!-- from {name} -->\n");
        if source.exists() {
            filled += &format!("\n{}\n", with_pictures(&source, document, root)?);
        } else {
            eprintln!("{}: there is no {name} yet", document.display());
            filled += old;
        }
        filled += END;
        rest = after;
    }
    Ok(filled + rest)
}

/// The file, with its pictures where the document finds them.
fn with_pictures(source: &Path, document: &Path, root: &Path) -> Result<String, String> {
    let pictures = root.join("docs/pictures");
    let failed = |error| format!("{}: {error}", source.display());
    let text = fs::read_to_string(source).map_err(failed)?;
    let (mut moved, mut rest) = (String::new(), text.as_str());
    while let Some((before, (title, after))) =
        rest.split_once("![").and_then(|(before, after)| Some((before, after.split_once("](")?)))
    {
        let Some((name, after)) = after.split_once(')') else { break };
        let from = source.parent().unwrap_or(root).join(name);
        fs::create_dir_all(&pictures)
            .and_then(|()| fs::copy(&from, pictures.join(name)))
            .map_err(|error| format!("{}: {error}", from.display()))?;
        moved += &format!("{before}![{title}]({})", relative(&pictures.join(name), document).display());
        rest = after;
    }
    Ok(moved + rest)
}

/// The path from a document to another file.
fn relative(to: &Path, document: &Path) -> PathBuf {
    let from = document.parent().unwrap_or(document);
    let common = from.components().zip(to.components()).take_while(|(from, to)| from == to).count();
    let up = from.components().skip(common).map(|_| Path::new(".."));
    up.chain(to.components().skip(common).map(|part| Path::new(part.as_os_str()))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::filled;

    #[test]
    fn a_mark_becomes_the_file_with_its_pictures() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("space");
            fs::write(path, text).expect("space");
        };
        write("out/sweep.md", "![A](a.svg)\n\n| a |\n");
        write("out/a.svg", "<svg/>");
        let document = root.path().join("docs/explanation/rates.md");
        let text = "One.\n<!-- from out/sweep.md -->\nold\n<!-- end -->\nTwo.\n<!-- from out/none.md -->\nkept\n<!-- end -->\n";
        let filled = filled(text, &document, root.path()).expect("all can be read");
        let expected = "One.\n<!-- from out/sweep.md -->\n\n![A](../pictures/a.svg)\n\n| a |\n\n<!-- end -->\nTwo.\n\
                        <!-- from out/none.md -->\nkept\n<!-- end -->\n";
        assert_eq!(filled, expected);
        assert!(root.path().join("docs/pictures/a.svg").exists());
    }
}

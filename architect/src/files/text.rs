//! Plain text: paragraphs broken into lines.

/// Breaks a paragraph into lines of at most `width` characters; every line but the first begins with
/// `indent`.
pub fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            lines.push('\n');
            lines.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_go_to_the_next_line_where_they_do_not_fit() {
        assert_eq!(wrap("one two  three", 7, "  "), "one two\n  three\n");
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_too_long(text in "[a-z ]{0,200}") {
            let lines = wrap(&text, 30, "  ");
            prop_assert!(lines.split_whitespace().eq(text.split_whitespace()));
            let long = |line: &str| line.len() > 30 && line.split_whitespace().count() > 1;
            prop_assert!(!lines.lines().any(long));
        }
    }
}

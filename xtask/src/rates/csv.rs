//! Comma-separated values, as `architect stats --rows` writes them (RFC 4180).

/// The records of a text, each a list of fields.
pub(super) fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let (mut record, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(std::mem::take(&mut field)),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            _ => field.push(letter),
        }
    }
    if !record.is_empty() || !field.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::records;

    #[test]
    fn quotes_keep_commas_lines_and_quotes() {
        assert_eq!(records("a,\"b, \"\"c\"\"\nd\"\r\n,\n"), [vec!["a", "b, \"c\"\nd"], vec!["", ""]]);
        assert_eq!(records("a,b"), [vec!["a", "b"]]);
    }
}

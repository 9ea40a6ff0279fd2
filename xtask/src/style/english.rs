//! Phrases that a native systems engineer would not write.

use super::comments::Block;

/// Phrases in lower case. Processes, guests and frames are "it", and the plain word comes before the clever
/// one.
const PHRASES: [&str; 37] = [
    "whom",
    "whoever",
    "nobody",
    "somebody",
    "everybody",
    "he",
    "him",
    "his",
    "himself",
    "she",
    "her",
    "what for",
    "is no more",
    "are no more",
    "to be had",
    "so many",
    "as many as it",
    "as many try",
    "his own affair",
    "past hoping",
    "lest",
    "left in peace",
    "in the way of",
    "one could love",
    "manieth",
    "promises nothing",
    "is known from before",
    "gone by the time",
    "who is",
    "who has",
    "who was",
    "who runs",
    "who waits",
    "who maps",
    "who owns",
    "who are",
    "who have",
];

/// A word of prose in lower case with its line; `None` for what parts two words, as the end of a sentence
/// does.
type Token = Option<(usize, String)>;

/// The phrases in a block, each with the line where it begins.
pub(super) fn phrases(block: &Block) -> Vec<(usize, String)> {
    let tokens = tokens(block);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let matches = |phrase: &&&str| {
            phrase.split(' ').enumerate().all(|(nth, word)| {
                tokens.get(at + nth).and_then(Option::as_ref).is_some_and(|(_, token)| token == word)
            })
        };
        if let (Some(phrase), Some((line, _))) = (PHRASES.iter().find(matches), &tokens[at]) {
            found.push((*line, (*phrase).to_owned()));
        }
    }
    if let Some((line, text)) = block.lines.first()
        && block.is_doc
        && text.trim_start().starts_with("Gives ")
    {
        found.push((*line, "Gives".to_owned()));
    }
    found
}

fn tokens(block: &Block) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut is_code = false;
    for (line, text) in &block.lines {
        let mut word = String::new();
        for letter in text.chars().chain([' ']) {
            if letter == '`' {
                is_code = !is_code;
            } else if !is_code && (letter.is_alphanumeric() || "'’-_".contains(letter)) {
                word.extend(letter.to_lowercase());
                continue;
            }
            if !word.is_empty() {
                tokens.push(Some((*line, std::mem::take(&mut word))));
            }
            // Emphasis does not part words.
            if letter != ' ' && letter != '*' {
                tokens.push(None);
            }
        }
    }
    tokens
}

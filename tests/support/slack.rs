//! What Slack asks of a message, from the pages on Block Kit and `chat.postMessage`.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use serde_json::Value;

/// Looks at a message: bounds of every text, and that nothing in it is markup of an event's.
#[track_caller]
pub(crate) fn check(message: &Value, is_coloured: bool) {
    let text = message["text"].as_str().expect("text is always set");
    assert!(!text.is_empty() && text.chars().count() <= 4000, "{text}");
    check_markup(text);
    assert_eq!(message["unfurl_links"], false);
    let blocks = match is_coloured {
        true => {
            assert!(message.get("blocks").is_none(), "blocks have a colour inside only");
            let attachments = message["attachments"].as_array().expect("attachments");
            assert_eq!(attachments.len(), 1);
            let colour = attachments[0]["color"].as_str().expect("a colour");
            assert!(colour.len() == 7 && colour.starts_with('#'), "{colour}");
            assert!(attachments[0]["fallback"].as_str().is_some_and(|text| !text.is_empty()));
            &attachments[0]["blocks"]
        }
        false => &message["blocks"],
    };
    let blocks = blocks.as_array().expect("an array of blocks");
    assert!((3..=50).contains(&blocks.len()), "{} blocks", blocks.len());
    blocks.iter().for_each(check_block);
}

fn check_block(block: &Value) {
    let list = |key: &str| block[key].as_array().unwrap_or_else(|| panic!("{key}: {block}"));
    match block["type"].as_str().expect("a type") {
        "header" => {
            check_text(&block["text"], 150);
            assert_eq!(block["text"]["type"], "plain_text");
        }
        "section" if block.get("text").is_some() => check_text(&block["text"], 3000),
        "section" => {
            assert!((1..=10).contains(&list("fields").len()), "{block}");
            list("fields").iter().for_each(|field| check_text(field, 2000));
        }
        "context" => {
            assert!((1..=10).contains(&list("elements").len()), "{block}");
            list("elements").iter().for_each(|element| check_text(element, 2000));
        }
        "actions" => list("elements").iter().for_each(|button| {
            assert_eq!(button["type"], "button");
            check_text(&button["text"], 75);
            let url = button["url"].as_str().expect("a link");
            assert!(url.len() <= 3000 && url.parse::<http::Uri>().is_ok(), "{url}");
        }),
        "divider" => {}
        other => panic!("no block is a {other}"),
    }
}

fn check_text(text: &Value, most: usize) {
    let kind = text["type"].as_str().expect("a type");
    assert!(["mrkdwn", "plain_text"].contains(&kind), "{kind}");
    assert!(kind == "plain_text" || text["verbatim"] == true, "{text}");
    let text = text["text"].as_str().expect("a text");
    // Slack does not say what it counts; nothing counts as more than UTF-16 does.
    assert!(!text.is_empty() && text.encode_utf16().count() <= most, "{text}");
    check_markup(text);
}

/// No character that begins a mention, a link or an entity of its own.
fn check_markup(text: &str) {
    assert!(!text.contains(['<', '>']), "{text}");
    for (at, _) in text.match_indices('&') {
        let rest = &text[at..];
        let is_entity = ["&amp;", "&lt;", "&gt;"].iter().any(|entity| rest.starts_with(entity));
        assert!(is_entity, "{text}");
    }
    let spans = text.matches('`').count();
    assert!(!text.starts_with("*Path:*") || spans == 2, "one code span: {text}");
}

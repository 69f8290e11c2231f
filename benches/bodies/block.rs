//! A block of events as workers open it.

const SAMPLES: &str = include_str!("../../tests/fixtures/security-events.jsonl");

/// Events of a block: 256 KiB of events of 1,000 bytes.
const EVENTS: usize = 262;

/// Bytes of an event, on average.
const EVENT_BYTES: usize = 1_000;

/// A block of events like the samples, with metadata that brings them to 1,000 bytes on average.
///
/// A multiplicative generator with a fixed seed varies ids, times and lengths, so that the
/// processor cannot learn the block by heart.
pub(crate) fn block(ascii: bool, clean: bool) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let is_clean = |line: &&str| !line.contains("+01:00") && !line.contains("\"trace\"");
    let samples: Vec<&str> = SAMPLES.lines().filter(|line| !clean || is_clean(line)).collect();
    let mut block = Vec::new();
    let mut bytes = 0;
    for i in 0..EVENTS {
        let sample = samples[random(samples.len())];
        let uuid = format!("019c{:04x}-{:04x}-7", random(65_536), random(65_536));
        let mut line = sample.replacen(&sample[38..53], &uuid, 1);
        let room = ((i + 1) * EVENT_BYTES).saturating_sub(bytes + line.len()).min(1_500);
        let mut fill = String::from("\"metadata\":{");
        while fill.len() + 12 < room {
            let text = "/srv/app/services/checkout/releases/2026-02-06/src/session/store.rs";
            let cut = 8 + random(text.len() - 8);
            let accent =
                if ascii || random(4) > 0 { "" } else { "d\u{e9}j\u{e0}-\u{65e5}\u{672c}" };
            let key = random(100_000);
            match random(3) {
                0 => fill.push_str(&format!("\"k{key}\":{},", random(1 << 30))),
                1 => fill.push_str(&format!("\"key_{key}\":\"{accent}{}\",", &text[..cut])),
                _ => fill.push_str(&format!("\"n{key}\":{{\"a\":[1,true,\"{}\"]}},", &text[..cut])),
            }
        }
        line = match line.contains("\"metadata\":{}") {
            true => line.replacen("\"metadata\":{}", &format!("{fill}\"z\":0}}"), 1),
            false => line.replacen("\"metadata\":{", &fill, 1),
        };
        if ascii {
            line = line.replace(|c: char| !c.is_ascii(), "x");
        }
        bytes += line.len();
        block.push(line.into_bytes());
    }
    block
}

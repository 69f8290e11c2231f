//! Teams: cards one by one, the query as it is, the other card after 400, the small one after 413.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Categories, Fake, TEAMS_QUERY, Teams, TeamsManner, Vendor};

use crate::{assert_complete, deliver, fake};

fn team(manner: TeamsManner, script: &str) -> (Fake, Categories) {
    let book = Arc::new(Book::new("teams"));
    let teams = Teams::new(Arc::clone(&book), manner);
    let cards = teams.cards();
    (fake(Vendor::Teams(teams), book, script), cards)
}

fn url(fake: &Fake, flow: &str) -> String {
    format!("http://{}/workflows/{flow}?{TEAMS_QUERY}", fake.addr())
}

fn keys(fake: &Fake, more: &str) -> String {
    let url = url(fake, "usual");
    format!(
        "    type: teams\n    webhook_url: '{url}'\n    min_severity: info\n    dedup_window_seconds: \
         0\n    rate_limit: \
         {{per_minute: 6000, burst: 1000}}\n{more}"
    )
}

#[test]
fn cards_of_both_kinds_arrive_in_order() {
    let actions = "    formatting: {show_actions: true}\n    base_url: https://console.example\n";
    for (more, kind) in [
        ("", "usual adaptive"),
        (actions, "usual adaptive"),
        ("    formatting: {show_facts: true, use_adaptive_cards: false}\n", "usual message"),
    ] {
        let (fake, cards) = team(TeamsManner::default(), "");
        let status = deliver(200, &keys(&fake, more));
        assert_eq!(status.exporters[0].counts.delivered, 200, "{more}");
        assert_complete(200, &fake.report());
        assert_eq!(fake.report().order.descents_across, 0, "people read from top to bottom");
        assert_eq!(cards.counts()[kind], 200, "{more}");
    }
}

#[test]
fn a_connector_says_in_its_body_what_it_took() {
    let manner = TeamsManner { is_connector: true, ..TeamsManner::default() };
    let (fake, cards) = team(manner, "");
    let status = deliver(100, &keys(&fake, "    mode: connector\n"));
    assert_eq!(status.exporters[0].counts.delivered, 100);
    assert_eq!(cards.counts()["usual adaptive"], 100);
    let refusing = TeamsManner { refuses_adaptive: true, ..manner };
    let (fake, cards) = team(refusing, "");
    let status = deliver(20, &keys(&fake, "    mode: connector\n"));
    assert_eq!((status.exporters[0].counts.delivered, cards.counts()["usual message"]), (20, 20));
}

#[test]
fn a_card_that_is_refused_goes_once_more_as_the_other_kind() {
    let manner = TeamsManner { refuses_adaptive: true, ..TeamsManner::default() };
    let (fake, cards) = team(manner, "");
    let status = deliver(20, &keys(&fake, ""));
    assert_eq!((status.exporters[0].counts.delivered, cards.counts()["usual message"]), (20, 20));
    let (fake, _) = team(TeamsManner::default(), "status 400");
    let status = deliver(5, &keys(&fake, ""));
    let counts = status.exporters[0].counts;
    assert_eq!((counts.delivered, counts.dead_lettered), (0, 5), "and then to the dead letters");
}

#[test]
fn a_card_that_is_too_large_for_the_flow_goes_once_more_as_a_small_one() {
    let manner = TeamsManner { bytes_max: Some(1_100), ..TeamsManner::default() };
    let (fake, cards) = team(manner, "");
    let status = deliver(20, &keys(&fake, ""));
    assert_eq!(status.exporters[0].counts.delivered, 20);
    assert_complete(20, &fake.report());
    assert_eq!(cards.counts()["usual adaptive"], 20);
    let manner = TeamsManner { bytes_max: Some(10), ..TeamsManner::default() };
    let (fake, _) = team(manner, "");
    assert_eq!(deliver(5, &keys(&fake, "")).exporters[0].counts.dead_lettered, 5);
}

#[test]
fn maps_and_rules_choose_the_flow() {
    let (fake, cards) = team(TeamsManner::default(), "");
    let more = format!(
        "    routing:\n      by_severity: {{critical: '{}'}}\n      rules:\n        - {{condition: \
         \"severity == 'high'\", webhook_url: '{}'}}\n",
        url(&fake, "critical"),
        url(&fake, "high")
    );
    deliver(300, &keys(&fake, &more));
    assert!(fake.report().problems.is_empty(), "{:?}", fake.report().problems);
    let counts = cards.counts();
    assert!(counts.len() == 3 && counts.values().sum::<u64>() == 300, "{counts:?}");
}

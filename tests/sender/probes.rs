//! What ends a hold, and whose it is: probes by call and by event, refusals that are not all's.

use std::time::Duration;

use shrike::deliver::{Cause, Fate, Scope};

use crate::{AUTH, Lane};

const CONFIG: Fate = Fate::Hold { cause: Cause::Config, scope: Scope::Exporter };

#[test]
fn a_hold_is_the_routes_where_routes_lead_to_places_of_their_own() {
    for fate in [AUTH, CONFIG] {
        let mut lane = Lane::with(|_, sender| sender.has_own_places = true);
        lane.enqueue(1, 1);
        lane.enqueue(1, 0);
        let sent = lane.send();
        lane.answer(sent.id, fate.clone());
        if lane.out.remedy.take().is_some() {
            // The others go on meanwhile.
            lane.wait(Duration::from_secs(3));
            let sent = lane.send();
            lane.answer(sent.id, fate);
        }
        assert_eq!(lane.gate.held(), None);
        assert_eq!(lane.sender.held_routes().map(|(route, _)| route).collect::<Vec<_>>(), [1]);
        let other = lane.send();
        assert_eq!(other.events, [1]);
        lane.answer(other.id, Fate::Delivered);
        let tried = lane.send_later();
        assert_eq!(tried.events, [0]);
        assert!(lane.now - lane.start >= Duration::from_secs(60));
        lane.answer(tried.id, Fate::Delivered);
        assert!(lane.sender.is_empty());
    }
}

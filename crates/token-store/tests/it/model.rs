//! A seeded random walk over everything that touches a token, against an endpoint that rotates and loses answers:
//! whatever happens, a living refresh token is never lost by us.

use crate::consents::consent;
use crate::support::Rig;
use token_store::Secret;

const STEPS: usize = 1000;

#[tokio::test]
async fn no_walk_over_refreshes_rejections_consents_imports_and_restarts_loses_a_living_refresh_token()
 {
    let seed = 20_261_124;
    let mut luck = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::new().await;
    {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.life = Some(3600);
    }
    let planted = rig.endpoint.world().plant();
    rig.tokens.seed("t", Secret::new(planted)).await.unwrap();
    for step in 0..STEPS {
        let lost = walk(&mut rig, &mut luck).await;
        if lost {
            // The endpoint rotated and its answer never came: only consent can help, and nothing of ours is at fault.
            consent(&rig).await;
        }
        let living = rig.endpoint.world().living.clone();
        let held = rig.tokens.refresh("t").await;
        assert!(
            held.is_ok(),
            "seed {seed}, step {step}: {held:?}, living at the endpoint: {living:?}"
        );
    }
}

/// One random event; true when the endpoint spent the refresh token without telling us.
async fn walk(rig: &mut Rig, luck: &mut fastrand::Rng) -> bool {
    match luck.u8(0..10) {
        0 => {
            let token = rig.tokens.access("t").await.unwrap();
            rig.tokens.rejected(&token).await.unwrap();
        }
        1 => consent(rig).await,
        2 => {
            rig.endpoint.world().withhold_refresh = true;
            consent(rig).await;
            rig.endpoint.world().withhold_refresh = false;
        }
        3 => {
            let answers = [
                (400, r#"{"error":"invalid_grant"}"#),
                (401, r#"{"error":"invalid_client"}"#),
                (200, "<html>"),
                (503, ""),
                (200, r#"{"access_token":""}"#),
            ];
            let (status, body) = answers[luck.usize(0..answers.len())];
            rig.endpoint
                .world()
                .canned
                .push_back((status, String::new(), body.into()));
            rig.tokens.refresh("t").await.unwrap_err();
        }
        4 => {
            // The config goes to another client and comes back.
            let mut other = rig.entry("t");
            other.config.client_id = "another".into();
            rig.import(other).await;
            rig.import(rig.entry("t")).await;
        }
        5 => {
            let mut changed = rig.entry("t");
            changed.config.scope = format!("mail {}", luck.u8(..));
            rig.import(changed).await;
        }
        6 => {
            // An asker that gives up, a change of client while the answer is under way, and back.
            let (refreshing, importing) = (rig.tokens.refresh("t"), async {
                let mut other = rig.entry("t");
                other.config.client_id = "another".into();
                rig.import(other).await;
            });
            let _ = tokio::join!(refreshing, importing);
            rig.import(rig.entry("t")).await;
        }
        7 => {
            let _ = tokio::time::timeout(
                std::time::Duration::from_micros(luck.u64(0..800)),
                rig.tokens.refresh("t"),
            )
            .await;
        }
        8 => {
            // A restart.
            rig.tokens = rig.beside();
        }
        _ => {
            rig.endpoint.world().lose = 1;
            let answer = rig.tokens.refresh("t").await;
            let mut world = rig.endpoint.world();
            let lost = world.lose == 0 && answer.is_err();
            world.lose = 0;
            return lost;
        }
    }
    false
}

//! Tests of the drawing, and of what a bundle's lines come to.

use super::*;

fn line(n: u64, load: f32, more: &str) -> String {
    let at = rfc3339(1_795_253_400_000 + n as i64 * 10_000);
    format!(
        "{{\"at\":\"{at}\",\"uptime_seconds\":{},\"interval_seconds\":10,\"boot_id\":\"67e55044-10b1-426f-9247-bb680e5fe0c8\",\
         \"load_1min\":{load},\"cpu_user_percent\":{},\"memory_total_kib\":1000,\"memory_available_kib\":250,\
         \"disks\":[{{\"mount\":\"/va\\u001br\",\"used_percent\":91.5,\"inodes_used_percent\":2,\"free_kib\":2048}}]{more}}}\n",
        100 + n * 10,
        load * 10.0,
    )
}

fn text() -> String {
    let head =
        "{\"format\":\"sheaf-history/1\",\"samples\":{\"interval_seconds\":10},\"damaged_records\":2}\n".to_owned();
    let mut text = head + &(0..8).map(|n| line(n, n as f32, "")).collect::<String>();
    text += &line(11, 4.0, ",\"event\":\"agent_start\",\"gap_seconds\":30");
    text + &line(12, 2.0, ",\"load_1min_max\":8")
}

fn history() -> History {
    collect(&text(), Duration::from_secs(7200), 60).expect("a history")
}

#[test]
fn a_drawing_has_a_block_for_each_step_and_a_blank_for_what_is_not_known() {
    let history = history();
    let drawn = drawing("web\x1b-1", &history, &rows(&history), 60, &BLOCKS);
    let expected = "\
web\\u{1b}-1: 2.2 min up to 2026-11-21T09:32:00.000Z, 10 s a column

                                    min        max        now
cpu user       ▁▁▂▃▄▄▅▆   ▄▂       0.0%      70.0%      20.0%
load           ▁▁▂▃▄▅▆▇   ▄█       0.00       8.00       2.00
memory used    ▆▆▆▆▆▆▆▆   ▆▆      75.0%      75.0%      75.0%

/va\\u{1b}r  91.5% full, 2.0% of inodes, 2.0 MiB left
2026-11-21T09:31:50.000Z  the agent started; nothing is known of 30 s before
2 records damaged, and left out
";
    assert_eq!(drawn, expected);
    let plain = drawing("web-1", &history, &rows(&history), 60, &ASCII);
    assert!(plain.is_ascii() && plain.contains("__.:--=+   -."), "{plain}");
}

#[test]
fn a_narrow_terminal_shows_the_newest() {
    let history = history();
    let drawn = drawing("n", &history, &rows(&history), 5, &BLOCKS);
    assert!(drawn.contains("\nload              ▄█ "), "{drawn}");
}

#[test]
fn samples_are_named_as_in_a_bundle() {
    let object = object("web-1", &history());
    let samples = object["samples"].as_array().expect("samples");
    assert_eq!(samples.len(), 10);
    let last = &samples[9];
    assert_eq!(
        (&last["load_1min"], &last["load_1min_max"], &last["ago_seconds"]),
        (&json!(2.0), &json!(8.0), &json!(0.0))
    );
    assert!(last.get("tasks").is_none(), "what is not known is not there");
    assert_eq!(object["marks"][0]["event"], "agent_start");
    assert_eq!(object["damaged_records"], 2);
}

#[test]
fn what_is_no_history_is_refused() {
    for text in ["", "{}\n", "{\"format\":\"sheaf-history/2\"}\n", "{\"format\":\"sheaf-history/1\"}\nx\n"] {
        assert!(collect(text, Duration::from_secs(60), 10).is_err(), "{text}");
    }
    let empty = collect("{\"format\":\"sheaf-history/1\"}\n", Duration::from_secs(60), 10).expect("an empty one");
    assert!(rows(&empty).is_empty());
    drawing("n", &empty, &[], 80, &BLOCKS);
}

#[test]
fn a_history_begins_in_the_past() {
    let since = |text: &str| back(text.parse().expect("a moment"));
    assert_eq!(since("2h").expect("a time").as_secs(), 7200);
    let day = since(&rfc3339(Timestamp::now().as_millisecond() - 86_400_000)).expect("a time");
    assert_eq!(day.as_secs() / 60, 24 * 60);
    assert!(since("all").expect("a time") > Duration::from_secs(3650 * 86_400));
    for bad in ["now", "0s", "2999-01-01T00:00:00Z"] {
        assert!(since(bad).is_err(), "{bad}");
    }
}

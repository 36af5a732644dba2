use super::*;
use crate::report::group::{Condition, Groups, Load, Section};
use crate::report::tests::{loaded, searches, some};

fn section<'a>(groups: &'a Groups<'a>) -> &'a Section<'a> {
    &groups.sections[0]
}

fn condition(section: &Section<'_>, load: Load) -> Condition {
    let conditions = section.conditions();
    *conditions.iter().rfind(|condition| condition.load == load).unwrap()
}

fn marks<'a>(plot: &'a Plot, name: &str) -> &'a [Mark] {
    &plot.layers.iter().find(|layer| layer.name == name).unwrap().marks
}

fn count(marks: &[Mark], is: fn(&Mark) -> bool) -> usize {
    marks.iter().filter(|mark| is(mark)).count()
}

#[test]
fn a_curve_has_medians_repeats_a_band_and_what_is_invalid() {
    let loaded = loaded(some());
    let groups = Groups::of(&loaded);
    let plots = latencies(&groups, section(&groups));
    assert_eq!(plots.len(), 6, "three percentiles, closed and open");
    let closed = &plots[0];
    let good = marks(closed, "tokio-msgpack");
    assert!(matches!(&good[0], Mark::Band(band) if band.len() == 2));
    assert!(matches!(&good[1], Mark::Line(line) if line.len() == 2));
    assert_eq!(count(good, |mark| matches!(mark, Mark::Repeat(_))), 10);
    assert_eq!(count(good, |mark| matches!(mark, Mark::Point(_))), 2);
    let lagged = marks(closed, "threads-pickle");
    assert_eq!(count(lagged, |mark| matches!(mark, Mark::Invalid(_))), 1);
    assert_eq!(count(lagged, |mark| matches!(mark, Mark::Repeat(_))), 9);
    let failed = marks(closed, "zeo-msgpack");
    assert_eq!(count(failed, |mark| matches!(mark, Mark::Invalid(_))), 0);
    assert_eq!(count(failed, |mark| matches!(mark, Mark::Repeat(_))), 9);
    let open = marks(&plots[3], "tokio-msgpack");
    assert_eq!(count(open, |mark| matches!(mark, Mark::Line(_))), 0, "of one point");
}

#[test]
fn percentiles_rise_and_show_the_service_time_in_an_open_loop() {
    let loaded = loaded(some());
    let groups = Groups::of(&loaded);
    let section = section(&groups);
    let open = percentiles(&groups, section, condition(section, Load::Poisson)).unwrap();
    let [Mark::Thin(service), Mark::Line(response)] = marks(&open, "zeo-msgpack") else {
        panic!("two lines")
    };
    assert!(response.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    assert!(service.iter().zip(response).all(|(service, response)| service.1 <= response.1));
    let closed = percentiles(&groups, section, condition(section, Load::Closed)).unwrap();
    assert_eq!(marks(&closed, "zeo-msgpack").len(), 1);
}

#[test]
fn time_has_a_line_for_each_repeat_and_rates_are_per_second() {
    let loaded = loaded(some());
    let groups = Groups::of(&loaded);
    let section = section(&groups);
    let plots = over_time(&groups, section, condition(section, Load::Poisson));
    assert_eq!(plots.len(), 2);
    let lines = marks(&plots[0], "tokio-msgpack");
    assert_eq!(lines.len(), 5);
    let Mark::Line(first) = &lines[4] else { panic!("the first repeat is on top") };
    assert_eq!(first[1], (2.0, 5_200.0));
}

#[test]
fn bars_are_shares_of_the_longest() {
    let loaded = loaded(some());
    let groups = Groups::of(&loaded);
    let section = section(&groups);
    for plot in [cpu, bytes].map(|plot| plot(&groups, section, condition(section, Load::Closed))) {
        let plot = plot.unwrap();
        let lengths = plot.layers.iter().map(|layer| match &layer.marks[..] {
            [Mark::Bar { parts, .. }] => parts.iter().sum::<f64>(),
            other => panic!("{other:?}"),
        });
        assert!((lengths.fold(0.0, f64::max) - 1.0).abs() < 1e-9);
    }
}

#[test]
fn what_is_drawn_is_one_group_for_each_variant_and_escaped() {
    let mut records = some();
    records.iter_mut().for_each(|record| record.point.protocol = "<&>".to_owned());
    let loaded = loaded(records);
    let groups = Groups::of(&loaded);
    let section = section(&groups);
    let mut plots = latencies(&groups, section);
    plots.extend(cpu(&groups, section, condition(section, Load::Closed)));
    for plot in &plots {
        let svg = draw(plot).unwrap();
        assert_eq!(svg.matches("data-variant=").count(), 4);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
        assert!(svg.contains("tokio-&lt;&amp;&gt;") && !svg.contains("<&>"), "{svg}");
        assert!(!svg.contains("NaN"));
    }
}

#[test]
fn a_search_is_bars_of_what_was_found_and_dots_of_all_runs() {
    let loaded = loaded(searches());
    let groups = Groups::of(&loaded);
    let section = section(&groups);
    let [condition] = section.searches()[..] else { panic!("one search") };
    assert!(latencies(&groups, section).is_empty(), "their rates are no one's choice");
    let bars = highest(&groups, section, condition).unwrap();
    let bar = |name| match marks(&bars, name) {
        [Mark::Bar { parts, text }] => (parts.iter().sum::<f64>(), text.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(bar("zeo-msgpack"), (0.0, "none".to_owned()));
    let (length, text) = bar("tokio-msgpack");
    assert!(length > 0.9 && text.contains(".."), "{length}, {text}");
    let runs = trials(&groups, section, condition).unwrap();
    assert_eq!(runs.limit, Some(250_000.0));
    // Seven open loops of each of five repeats.
    let of_one = marks(&runs, "tokio-msgpack");
    let dots = count(of_one, |mark| matches!(mark, Mark::Repeat(_)));
    let crosses = count(of_one, |mark| matches!(mark, Mark::Invalid(_)));
    assert_eq!((dots + crosses, of_one.len()), (35, 35));
    let svg = draw(&runs).unwrap();
    assert_eq!(svg.matches("class=\"limit\"").count(), 1);
}

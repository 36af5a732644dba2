use super::*;

const SERVERS: &str = r#"
    [server.a]
    about = "a"
    command = ["a"]
    protocols = ["msgpack", "redis"]
    [server.b]
    about = "b"
    command = ["b"]
    protocols = ["msgpack"]
"#;

fn tasks(scenario: &str) -> anyhow::Result<Vec<Task>> {
    let servers: Servers = toml::from_str(SERVERS)?;
    let scenario: Scenario = toml::from_str(scenario)?;
    scenario.tasks("test", &servers, &toml::from_str(DRIVERS)?)
}

const DRIVERS: &str = r#"
    [driver.outside]
    about = "a"
    command = ["a"]
    protocols = ["msgpack"]
    quick = { objects = 3 }
"#;

const HEAD: &str = r#"
    about = "test"
    servers = ["a:msgpack", "b:msgpack"]
    repeats = 2
    warmup_seconds = 0.1
    seconds = 1.0
"#;

#[test]
fn what_is_compared_is_measured_one_after_the_other() {
    let points = r#"
        [[point]]
        name = "read"
        workload = { kind = "read", objects = 10, record_bytes = 100 }
        connections = [1, 8]
        rates = [10.0, 20.0]
    "#;
    let tasks = tasks(&format!("{HEAD}{points}")).unwrap();
    assert_eq!(tasks.len(), 2 * 2 * 2 * 2);
    for pair in tasks.chunks(2) {
        let [a, b] = pair else { panic!("pairs") };
        assert_ne!(a.point.server, b.point.server);
        let other = Point {
            server: b.point.server.clone(),
            command: b.point.command.clone(),
            ..a.point.clone()
        };
        assert_eq!(other, b.point);
    }
    assert_eq!(tasks[0].point.server, "a");
    assert_eq!(tasks[8].point.server, "b", "the second repeat begins with the other one");
}

#[test]
fn a_search_is_one_point_of_each_server_and_repeat() {
    let points = r#"
        [[point]]
        name = "read"
        workload = { kind = "read", objects = 10, record_bytes = 100 }
        connections = [8]
        search = { p99_ms = 5.0 }
    "#;
    let tasks = tasks(&format!("{HEAD}pin = {{ server = [0], workers = [1] }}\n{points}"));
    let tasks = tasks.unwrap();
    assert_eq!(tasks.len(), 4);
    let load = Loop::Search { p99_ms: 5.0, arrivals: Arrivals::Poisson };
    let pin = Some(Pin { server: vec![0], workers: vec![1] });
    assert!(tasks.iter().all(|task| task.point.load == load && task.point.pin == pin));
}

#[test]
fn what_cannot_be_is_refused() {
    let with = |variant: &str, workload: &str| {
        let point = format!(
            "[[point]]\nname = 'p'\nconnections = [1]\nservers = ['{variant}']\nworkload = {workload}"
        );
        tasks(&format!("{HEAD}{point}"))
    };
    let read = "{ kind = 'read', objects = 10, record_bytes = 100 }";
    let hot = "{ kind = 'commit', objects = 1, record_bytes = 100, hot = true }";
    assert!(with("a:msgpack", hot).is_ok());
    assert!(with("a:redis", read).is_ok());
    let failure = |variant, workload| format!("{:#}", with(variant, workload).unwrap_err());
    assert!(failure("a:redis", hot).contains("no transactions"));
    assert!(failure("b:pickle", read).contains("does not speak"));
    assert!(failure("c:pickle", read).contains("known are a, b"));
    assert!(failure("a", read).contains("SERVER:PROTOCOL"));
    assert!(failure("a:msgpack", "{ kind = 'dance' }").contains("dance"));
    let none = "{ kind = 'read', objects = 0, record_bytes = 100 }";
    assert!(failure("a:msgpack", none).contains("no objects"));
    let other = "{ kind = 'read', objects = 1, record_bytes = 'prod2' }";
    assert!(failure("a:msgpack", other).contains("prod1"));
    let new = "{ kind = 'commit', objects = 2, new_objects = 3, record_bytes = 100 }";
    assert!(failure("a:msgpack", new).contains("3 new objects in a transaction of 2"));
    let zipf = "{ kind = 'read', objects = 9, record_bytes = 9, choice = { zipf = -1.0 } }";
    assert!(failure("a:msgpack", zipf).contains("Zipf"));
    let search = |search: &str| {
        format!("{:#}", with("a:msgpack", &format!("{read}\n{search}")).unwrap_err())
    };
    assert!(search("search = { p99_ms = 1.0 }\nrates = [1.0]").contains("either"));
    for objective in ["0.0", "-1.0", "nan", "inf"] {
        assert!(search(&format!("search = {{ p99_ms = {objective} }}")).contains("p99_ms"));
    }
}

#[test]
fn a_driver_takes_the_place_of_a_workload() {
    let with = |variant: &str, more: &str| {
        let point =
            format!("[[point]]\nname = 'p'\nconnections = [2]\nservers = ['{variant}']\n{more}");
        tasks(&format!("{HEAD}{point}"))
    };
    let settings = "settings = { objects = 1000, operation = 'add' }";
    let driven = with("a:msgpack", &format!("driver = 'outside'\n{settings}")).unwrap();
    assert_eq!(driven[0].work, Work::Driver("outside".to_owned()));
    let point = &driven[0].point;
    assert_eq!((point.workers, point.connections), (2, 2), "a process for each client");
    assert_eq!(point.settings["objects"], 1000);
    assert_eq!(point.settings["driver"], "outside");
    let failure = |variant, more: &str| format!("{:#}", with(variant, more).unwrap_err());
    assert!(failure("a:redis", "driver = 'outside'").contains("does not speak"));
    assert!(failure("a:msgpack", "driver = 'nobody'").contains("known are outside"));
    assert!(failure("a:msgpack", "driver = 'outside'\ndepth = [8]").contains("under way"));
    assert!(failure("a:msgpack", "driver = 'outside'\nrates = [8.0]").contains("under way"));
    let connect = "workload = { kind = 'connect' }";
    for both in [format!("{connect}\ndriver = 'outside'"), format!("{connect}\n{settings}")] {
        assert!(failure("a:msgpack", &both).contains("either a workload or a driver"));
    }
    assert!(failure("a:msgpack", settings).contains("either a workload or a driver"));
}

#[test]
fn what_is_only_tried_has_the_drivers_own_quick_settings() {
    let points = "[[point]]\nname = 'p'\nconnections = [1]\ndriver = 'outside'\n\
                  settings = { objects = 1000, other = 7 }";
    let scenario: Scenario = toml::from_str(&format!("{HEAD}{points}")).unwrap();
    let (servers, drivers) = (toml::from_str(SERVERS).unwrap(), toml::from_str(DRIVERS).unwrap());
    let tasks = scenario.shortened().tasks("test", &servers, &drivers).unwrap();
    let settings = &tasks[0].point.settings;
    assert_eq!((&settings["objects"], &settings["other"]), (&3.into(), &7.into()));
}

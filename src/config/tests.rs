use super::layers::names;
use super::*;

/// Made by `openssl genpkey -algorithm ed25519` for these tests.
const PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAIUzmyGw/vVxCuj1flnXw+2oiEGli2RoR267IliYU9p
-----END PRIVATE KEY-----
";

fn env(variables: &[(&str, &str)]) -> LoadOptions {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    LoadOptions { environment: variables.iter().map(pair).collect(), ..LoadOptions::default() }
}

fn load(variables: &[(&str, &str)]) -> Settings {
    Settings::load(&env(variables)).unwrap()
}

fn complaint(options: &LoadOptions) -> String {
    Settings::load(options).unwrap_err().to_string()
}

/// A file of this test alone, gone at the end of it.
struct File(PathBuf);

impl File {
    fn with(text: &str) -> Self {
        let name =
            format!("natter-config-{}", u64::from_be_bytes(crate::domain::clock::random_bytes()));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let settings = Settings::defaults();
    assert_eq!(settings.server.addr, "0.0.0.0:8443".parse().unwrap());
    assert_eq!(settings.server.public_url.as_str(), "https://localhost:8443/");
    assert_eq!(settings.server.tls_files(), None);
    assert_eq!(settings.server.idle_seconds, Duration::from_secs(75));
    assert_eq!(settings.mongodb.uri.expose(), "mongodb://127.0.0.1:27017/?replicaSet=rs0");
    assert_eq!(settings.mail.url, MailUrl::Log);
    assert_eq!(settings.limits.auth, Quota::parse("20/1m"));
    assert_eq!(settings.auth.bcrypt_cost, 12);
    assert!(settings.auth.hashers().get() >= 1);
    assert!(settings.auth.jwt_key.is_none());
    assert!(settings.admin.addr.is_none());
}

#[test]
fn the_log_takes_mails_only_where_the_service_is_local() {
    let at = |url: &str| {
        let variables = [("NATTER_SERVER__PUBLIC_URL", url), ("NATTER_MAIL__URL", "log:")];
        Settings::load(&env(&variables))
    };
    for local in [
        "https://localhost",
        "https://LOCALHOST:8443",
        "https://localhost.",
        "https://chat.localhost",
        "https://127.0.0.1:8443",
        "https://127.9.9.9",
        "https://[::1]:8443",
    ] {
        assert!(at(local).is_ok(), "{local}");
    }
    for public in [
        "https://chat.example.org",
        "https://localhost.example.org",
        "https://notlocalhost",
        "https://10.0.0.1",
        "https://128.0.0.1",
        "https://[2001:db8::1]",
        "https://0.0.0.0",
    ] {
        let complaint = at(public).unwrap_err().to_string();
        assert!(complaint.starts_with("setting mail.url: log: "), "{complaint}");
        assert!(complaint.ends_with("(from NATTER_MAIL__URL)"), "{complaint}");
        assert_eq!(complaint.lines().count(), 1);
    }
    // Also where it is the default.
    let options = env(&[("NATTER_SERVER__PUBLIC_URL", "https://chat.example.org")]);
    assert!(complaint(&options).starts_with("setting mail.url: "));
    let sent = [
        ("NATTER_SERVER__PUBLIC_URL", "https://chat.example.org"),
        ("NATTER_MAIL__URL", "smtp://mail.example.org"),
    ];
    load(&sent);
}

#[test]
fn every_setting_is_in_the_file_with_a_comment() {
    let documented = documented();
    for name in names() {
        assert!(documented.contains_key(&name), "config/default.toml has no commented {name}");
    }
    assert_eq!(
        names().len(),
        documented.len(),
        "config/default.toml names a setting twice or one too many"
    );
    assert!(names().len() >= 35);
}

#[test]
fn examples_in_the_file_are_valid() {
    let examples = documented().into_iter().filter_map(|(name, example)| Some((name, example?)));
    // Of these the value is, or names, something that must be there.
    let examples =
        examples.filter(|(name, _)| name != "auth.jwt_key" && !name.ends_with(".tls_ca"));
    let set: Vec<_> =
        examples.map(|(name, value)| format!("{name}={}", value.trim_matches('"'))).collect();
    assert_eq!(set.len(), 4);
    Settings::load(&LoadOptions { set, ..LoadOptions::default() }).unwrap();
}

/// Settings of `config/default.toml` that follow a comment, each with its example if it is unset.
fn documented() -> std::collections::BTreeMap<String, Option<String>> {
    let (mut section, mut commented) = (String::new(), false);
    let mut found = std::collections::BTreeMap::new();
    for line in include_str!("../../config/default.toml").lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let word = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        if let Some((name, value)) = bare.split_once(" = ").filter(|(name, _)| word(name)) {
            assert!(commented, "{section}.{name} has no comment");
            let example = (bare != line).then(|| value.to_owned());
            assert!(found.insert(format!("{section}.{name}"), example).is_none());
            commented = false;
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            commented = false;
        } else {
            commented = line.starts_with('#');
        }
    }
    found
}

#[test]
fn each_layer_wins_over_the_ones_before() {
    let file = File::with(
        "[redis]\nprefix = \"file:\"\n[mongodb]\ndatabase = \"file\"\n[groups]\nmax_members = 7\n",
    );
    let mut options = env(&[
        ("NATTER_CONFIG", file.path()),
        ("NATTER_REDIS__PREFIX", "environment:"),
        ("NATTER_MONGODB__DATABASE", "environment"),
    ]);
    options.set = vec!["redis.prefix=first:".into(), "redis.prefix=a=b:".into()];
    let settings = Settings::load(&options).unwrap();
    assert_eq!(settings.redis.prefix, "a=b:");
    assert_eq!(settings.mongodb.database, "environment");
    assert_eq!(settings.groups.max_members, 7);
    assert_eq!(settings.messages.shards, 4);

    let other = File::with("[groups]\nmax_members = 8\n");
    options.file = Some(other.0.clone());
    assert_eq!(Settings::load(&options).unwrap().groups.max_members, 8);
}

#[test]
fn the_environment_says_what_a_file_can() {
    let settings = load(&[
        ("NATTER_SERVER__MAX_CONNECTIONS", "5"),
        ("NATTER_SERVER__TRUSTED_PROXIES", "10.1.2.3/8, ::1"),
        ("NATTER_SERVER__CORS_ORIGINS", "https://a.example,http://localhost:5173"),
        ("NATTER_MESSAGES__REQUIRE_FRIENDSHIP", "true"),
        ("NATTER_REDIS__PREFIX", "123"),
        ("NATTER_MONGODB__DATABASE", "true"),
        ("NATTER_LIMITS__AUTH", "off"),
        ("NATTER_LIMITS__READ", "5/2h"),
        ("NATTER_ADMIN__ADDR", ""),
        ("NATTER_LOG__FORMAT", "json"),
    ]);
    assert_eq!(settings.server.max_connections, 5);
    let proxies = ["10.0.0.0/8", "::1/128"].map(|text| text.parse::<IpNet>().unwrap());
    assert_eq!(settings.server.trusted_proxies, proxies);
    assert_eq!(settings.server.cors_origins, ["https://a.example", "http://localhost:5173"]);
    assert!(settings.messages.require_friendship);
    assert_eq!(settings.redis.prefix, "123");
    assert_eq!(settings.mongodb.database, "true");
    assert_eq!(settings.limits.auth, None);
    assert_eq!(settings.limits.read.unwrap().window, Duration::from_hours(2));
    assert_eq!(settings.admin.addr, None);
    assert_eq!(settings.log.format, LogFormat::Json);

    let file = File::with(
        "[redis]\nprefix = 12\n[server]\ntrusted_proxies = [\"10.0.0.1\"]\nmax_connections = \"9\"\n",
    );
    let settings = load(&[("NATTER_CONFIG", file.path())]);
    assert_eq!(settings.redis.prefix, "12");
    assert_eq!(settings.server.max_connections, 9);
    assert_eq!(settings.server.trusted_proxies.len(), 1);
}

#[test]
fn secrets_come_from_files() {
    let uri = File::with("mongodb://u:p@db/\n");
    let key = File::with(PEM);
    let settings = load(&[
        ("NATTER_MONGODB__URI_FILE", uri.path()),
        ("NATTER_AUTH__JWT_KEY_FILE", key.path()),
        ("NATTER_REDIS__URL_FILE", ""),
    ]);
    assert_eq!(settings.mongodb.uri.expose(), "mongodb://u:p@db/");
    let pkcs8 = settings.auth.jwt_key.unwrap();
    aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(pkcs8.pkcs8()).unwrap();

    let both =
        env(&[("NATTER_MONGODB__URI", "mongodb://x/"), ("NATTER_MONGODB__URI_FILE", uri.path())]);
    assert_eq!(
        complaint(&both),
        "setting mongodb.uri: NATTER_MONGODB__URI and NATTER_MONGODB__URI_FILE are both given"
    );
    let missing = env(&[("NATTER_MAIL__URL_FILE", "/no/such")]);
    assert_eq!(
        complaint(&missing),
        "setting mail.url: file \"/no/such\": No such file or directory (os error 2) (from NATTER_MAIL__URL_FILE)"
    );
    let wrong = File::with("hunter2");
    let line = complaint(&env(&[("NATTER_REDIS__URL_FILE", wrong.path())]));
    assert!(
        line.ends_with(&format!("(from {}, by NATTER_REDIS__URL_FILE)", wrong.path())),
        "{line}"
    );
    assert!(!line.contains("hunter2"), "{line}");
}

#[test]
fn debug_shows_no_secret() {
    let settings = load(&[
        ("NATTER_MONGODB__URI", "mongodb://u:hunter2@db/"),
        ("NATTER_REDIS__URL", "redis://:hunter2@cache"),
        ("NATTER_MAIL__URL", "smtps://u:hunter2@mail"),
        ("NATTER_AUTH__JWT_KEY", PEM),
    ]);
    let shown = format!("{settings:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("Smtp(\n") && shown.contains("SigningKey(…)"), "{shown}");
    assert!(!shown.contains("48, 46, 2"), "{shown}");
}

#[test]
fn unknown_names_are_refused() {
    for (variable, line) in [
        (
            "NATTER_SERVER__ADR",
            "setting server.adr: there is no such setting (from NATTER_SERVER__ADR)",
        ),
        (
            "NATTER_SERVER__ADDR__X",
            "setting server.addr: a table is given where one value is expected (from NATTER_SERVER__ADDR__X)",
        ),
        ("NATTER_SEVER__ADDR", "setting sever: there is no such section (from NATTER_SEVER__ADDR)"),
        (
            "NATTER_SERVER__TLS_KEY_FILE",
            "setting server.tls_key_file: there is no such setting (from NATTER_SERVER__TLS_KEY_FILE)",
        ),
        (
            "NATTER_SERVER_TLS_CERT",
            "setting server.tls_cert: two underscores belong between section and name (from NATTER_SERVER_TLS_CERT)",
        ),
        (
            "NATTER_REDIS_URL_FILE",
            "setting redis.url: two underscores belong between section and name (from NATTER_REDIS_URL_FILE)",
        ),
    ] {
        assert_eq!(complaint(&env(&[(variable, "x")])), line);
    }
    load(&[
        ("NATTER_TEST_X", "1"),
        ("NATTER_TEST__X", "1"),
        ("NATTER_LOG", "debug"),
        ("NATTER_CONFIG", ""),
    ]);
    load(&[
        ("NATTER_PORT", "tcp://10.0.0.1"),
        ("NATTER_REDIS_SERVICE_HOST", "10.0.0.2"),
        ("PATH", "/bin"),
    ]);
}

#[test]
fn bad_files_and_flags_are_one_line() {
    for (text, end) in [
        ("[server]\nadr = 1\n", "setting server.adr: there is no such setting (from FILE)"),
        ("[sever]\naddr = 1\n", "setting sever: there is no such section (from FILE)"),
        (
            "mongodb = \"hunter2\"\n",
            "setting mongodb: a section is expected here, with names and values in it (from FILE)",
        ),
        (
            "[redis]\nurl = [\"hunter2\"]\n",
            "setting redis.url: a list is given where one value is expected (from FILE)",
        ),
        ("[redis]\n\nurl = hunter2\n", "FILE, line 3: invalid string, expected `\"`, `'`"),
        (
            "[log]\nlevel = \"info\"\nlevel = \"warn\"\n",
            "FILE, line 3: duplicate key `level` in table `log`",
        ),
    ] {
        let file = File::with(text);
        let line = complaint(&env(&[("NATTER_CONFIG", file.path())]));
        assert_eq!(line, end.replace("FILE", file.path()));
    }
    let missing = LoadOptions { file: Some("/no/such".into()), ..LoadOptions::default() };
    assert_eq!(
        complaint(&missing),
        "settings file /no/such: No such file or directory (os error 2)"
    );
    for (argument, line) in [
        ("mongodb.uri", "--set takes section.name=value"),
        ("hunter2=", "--set takes section.name=value"),
        ("a.b=c", "setting a: there is no such section (from --set)"),
        (
            "groups.max_members=0",
            "setting groups.max_members: \"0\" is not a whole number from 1 to 1000 (from --set)",
        ),
    ] {
        let options = LoadOptions { set: vec![argument.into()], ..LoadOptions::default() };
        assert_eq!(complaint(&options), line);
    }
}

/// Variable without its prefix, value, and what is said about it after the setting's name.
const BAD: &str = r#"
SERVER__ADDR=localhost → "localhost" is not an address like 0.0.0.0:8443
SERVER__REDIRECT_ADDR=:80 → ":80" is not an address like 0.0.0.0:8443
SERVER__TLS_CERT=/c.pem → server.tls_key must be given as well
SERVER__TLS_KEY=/k.pem → server.tls_cert must be given as well
SERVER__PUBLIC_URL=http://a → "http://a" is not like https://chat.example.org, with nothing after it
SERVER__PUBLIC_URL=https://a/b → "https://a/b" is not like https://chat.example.org, with nothing after it
SERVER__PUBLIC_URL=https://a?b → "https://a?b" is not like https://chat.example.org, with nothing after it
SERVER__TRUSTED_PROXIES=::1,10.0.0.0/40 → "10.0.0.0/40" is not an address, and no network like 10.0.0.0/8
SERVER__CORS_ORIGINS=* → "*" would open the API to the pages of any site: name each origin
SERVER__CORS_ORIGINS=null → "null" is not an origin like https://chat.example.org
SERVER__CORS_ORIGINS=https://A/ → "https://A/" is not an origin like https://chat.example.org, which browsers send as "https://a"
SERVER__MAX_CONNECTIONS=0 → "0" is not a whole number from 1 to 1000000
SERVER__CONNECTIONS_PER_ADDRESS=0 → "0" is not a whole number from 1 to 1000000
SERVER__HANDSHAKE_SECONDS=1.5 → "1.5" is not a whole number from 1 to 300
SERVER__DRAIN_SECONDS=-1 → "-1" is not a whole number from 0 to 3600
ADMIN__ADDR=9443 → "9443" is not an address like 0.0.0.0:8443
MONGODB__URI=hunter2 → its value is not like mongodb://host:27017/?replicaSet=rs0
MONGODB__URI=mongodb:/// → its value is not like mongodb://host:27017/?replicaSet=rs0
MONGODB__DATABASE=a.b → "a.b" is not a database name: 1 to 63 letters, digits, _ or -, and not admin, config or local
REDIS__URL=http://hunter2 → its value is not like redis://host:6379 or rediss://host:6379/0, or has unknown options
REDIS__PREFIX=a b → "a b" is not 1 to 64 visible ASCII characters
AUTH__JWT_KEY=hunter2 → its value is not an Ed25519 private key (PKCS#8, PEM)
AUTH__BCRYPT_COST=3 → "3" is not a whole number from 4 to 15
AUTH__BCRYPT_THREADS=many → "many" is not a whole number from 0 to 256
MAIL__URL=smtp://u:hunter2@ → its value is not like smtp://host:25, smtps://user:password@host, file:///dir or log:
MAIL__FROM=nobody → "nobody" is not a sender like natter <no-reply@example.org>
LIMITS__AUTH=20 → "20" is not a limit like 20/1m (at most 24h), and not "off"
LIMITS__READ=0/1m → "0/1m" is not a limit like 20/1m (at most 24h), and not "off"
MESSAGES__SHARDS=65 → "65" is not a whole number from 1 to 64
MESSAGES__REQUIRE_FRIENDSHIP=yes → "yes" is neither true nor false
GROUPS__MAX_MEMBERS=1001 → "1001" is not a whole number from 1 to 1000
LOG__FORMAT=xml → "xml" is neither text nor json
LOG__LEVEL=natter=loud → "natter=loud" is not a level like info, and no list like info,natter=debug
"#;

#[test]
fn each_bad_value_has_its_line() {
    for row in BAD.trim().lines() {
        let (assignment, problem) = row.split_once(" → ").unwrap();
        let (name, value) = assignment.split_once('=').unwrap();
        let variable = format!("NATTER_{name}");
        let setting = name.to_lowercase().replace("__", ".");
        let line = complaint(&env(&[(&variable, value)]));
        assert_eq!(line, format!("setting {setting}: {problem} (from {variable})"));
        assert!(!line.contains("hunter2"));
    }
}

#[test]
fn a_complaint_is_one_short_line() {
    let line = |value| complaint(&env(&[("NATTER_SERVER__ADDR", value)]));
    assert!(line("a\nb").starts_with(r#"setting server.addr: "a\nb" is not"#));
    assert!(line(&"ä".repeat(5000)).len() < 300);
}

#[test]
fn quotas_are_count_and_window() {
    let quota = |text| Quota::parse(text).map(|quota| (quota.limit.get(), quota.window.as_secs()));
    assert_eq!(quota("20/1m"), Some((20, 60)));
    assert_eq!(quota("1/30s"), Some((1, 30)));
    assert_eq!(quota("4294967295/24h"), Some((u32::MAX, 86_400)));
    for text in [
        "",
        "/",
        "20/",
        "20/m",
        "20/1",
        "20/1d",
        "+20/1m",
        "20/0s",
        "20/25h",
        "20/1m/2",
        "20/4294967295h",
        " 20/1m",
        "20/1ä",
    ] {
        assert_eq!(quota(text), None, "{text}");
    }
}

#[test]
fn mail_goes_where_the_url_says() {
    assert_eq!(MailUrl::parse("log:"), Some(MailUrl::Log));
    assert_eq!(MailUrl::parse("file:///var/mail"), Some(MailUrl::Files("/var/mail".into())));
    for text in ["smtp://127.0.0.1:2525", "smtp://u:p%40@mail?tls=required", "smtps://mail"] {
        assert_eq!(MailUrl::parse(text), Some(MailUrl::Smtp(Secret::new(text))), "{text}");
    }
    for text in [
        "log",
        "file:dir",
        "file://host/dir",
        "smtp:",
        "smtp://mail?tls=no",
        "smtps://mail?tls=required",
        "smtp://u@mail",
        "smtp://mail?x=1",
    ] {
        assert_eq!(MailUrl::parse(text), None, "{text}");
    }
}

//! What is a secret and what is not, as tables. «…» marks what must be taken out.

use std::fmt::Write as _;

use super::*;

const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8/xyzABCDEFGHIJKLMNOPQRST\nB5qP6TkvG2m9vPqRZ7o0aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789+/abcdef\nshort==\n-----END RSA PRIVATE KEY-----";

const TRUE: &[(&str, &str)] = &[
    // Settings: key=value.
    ("password", "password=«hunter2»"),
    ("password", "2024-05-01T10:00:00 app: connecting user=bob password=«hunter2» host=db1"),
    ("password", "DB_PASSWORD=«correct horse battery»"),
    ("password", "export PGPASSWORD=«s3cr3t!»"),
    ("password", "spring.datasource.password=«p@ss,word»"),
    ("password", "password = «abc def ghi»"),
    ("password", "Server=db;User Id=sa;Password=«P4ss;w0rd»;Timeout=30"),
    ("password", "jdbc:sqlserver://db:1433;user=sa;password=«Sup3r»;encrypt=true"),
    ("password", "{user=bob, password=«hunter2», host=x}"),
    ("password", "LoginRequest(user=bob, password=«hunter2»)"),
    ("password", "user[password]=«hunter2»&user[name]=bob"),
    ("password", "$db['password'] = '«hunter2»';"),
    ("password", "'password' => '«hunter2»',"),
    ("password", "password := \"«hunter2»\""),
    ("password", "msg=\"login with password=«hunter2»\" user=bob"),
    ("password", "3.5\" drive password=\"«hunter2»\" x"),
    ("password", "Environment=\"MYSQL_ROOT_PASSWORD=«hunter2»\""),
    ("password", "Pwd=«hunter2»;Database=x"),
    ("password", "PassWord=«hunter2»"),
    ("password", "#password = «old one»"),
    ("password", "wifi passphrase=«hunter22»"),
    ("password", "requirepass «foobared»"),
    ("password", "bindpw «hunter2»"),
    ("password", "machine x.example login bob password «hunter2»"),
    ("password", "ALTER USER bob WITH PASSWORD '«hunter2»';"),
    ("password", "password%3D«hunter2»"),
    ("password", "userPassword: «{SSHA}short»"),
    ("token", "access_token=«abcdef123456»&expires=3600"),
    ("token", "GET /login?token=«abc123def»&next=/home HTTP/1.1"),
    ("token", "GET /login?token=«abc123def» HTTP/1.1"),
    ("token", "\"GET /x?a=1\\u0026token=«abc123def»\\u0026b=2\""),
    ("token", "X-Auth-Token: «gAAAAABexample»"),
    ("token", "> X-Vault-Token: «s.abcdefgh»"),
    ("token", "JSESSIONID=«0123456789ABCDEF»; Path=/"),
    ("secret", "client_secret=«abc-def-ghi»"),
    ("secret", "oauth: clientSecret=«q1w2e3r4» ok"),
    ("key", "api_key=«0123456789abcdef»"),
    ("key", "x-api-key: «0123456789abcdef»"),
    ("key", "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"),
    ("key", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=«abc+def/ghi==»;EndpointSuffix=core.windows.net"),
    ("key", "PrivateKey = «yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=»"),
    ("key", "Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey=«abcdefgh=»"),
    ("credential", "rocommunity «pub1ic»"),
    // YAML.
    ("password", "password: «hunter2»"),
    ("password", "  - password: «correct horse battery staple»"),
    ("password", "db:\n  password: '«it is»'\n  user: bob"),
    ("password", "password: «|\n  line one\n  line two»\nuser: bob"),
    ("password", "{user: bob, password: «hunterx», port: 1}"),
    ("token", "    token: «eyfoo.bar»"),
    ("key", "    client-key-data: «TUlJRXBBSUJBQUtDQVFFQQ==»"),
    ("token", "request failed with token: «a1b2c3d4e5f6»"),
    // JSON at several depths.
    ("password", r#"{"user":"bob","password":"«hunter2»","port":5432}"#),
    ("password", r#"{"password" : "«a\"b\\»", "x": 1}"#),
    ("password", r#"{"log":"{\"password\":\"«hunter2»\",\"u\":1}\n","stream":"stdout"}"#),
    ("password", r#"{"log":"{\"password\":\"«a\\\"b»\",\"u\":1}\n","stream":"stdout"}"#),
    ("password", r#"{"a":"{\"b\":\"{\\\"password\\\":\\\"«hunter2»\\\"}\"}"}"#),
    ("password", r#"{"log":"user=bob password=«hunter2»\n","stream":"stdout"}"#),
    ("password", r#"{"passwords":["«one»","«two»"]}"#),
    ("password", r#"{"password":"«unclosed"#),
    ("password", r"{'password': b'«hunter2»'}"),
    ("token", r#"{"accessToken":"«abc»"}"#),
    ("secret", r#""client_secret": "«abc»","#),
    ("key", r#"{"log":"\tapi_key: «0123abcd4567»\n"}"#),
    ("key", r#"{"private_key_id":"keep","private_key":"«not pem at all»"}"#),
    ("key", "wpa: psk=\"«correct horse»\""),
    ("authorization", r#"{"auths":{"https://reg":{"auth":"«Ym9iOmh1bnRlcjI=»"}}}"#),
    ("authorization", r#"{"log":"{\"auth\": \"«Ym9iOmh1bnRlcjI=»\"}\n"}"#),
    ("password", "CREATE USER 'bob'@'%' IDENTIFIED BY '«hunter2»' REQUIRE SSL"),
    ("password-hash", "bob:{SHA}«W6ph5Mm5Pz8GgiULbPgzG37mj9g=»"),
    ("password", "MESSAGE=password: «swordfish»"),
    ("password", "2026-11-21T10:00:00.123Z stdout F   password: «swordfish»"),
    // XML.
    ("password", "<password>«hunter2»</password>"),
    ("password", "<db user=\"x\" password=\"«hunter2»\"/>"),
    // Command lines.
    ("password", "mysqldump --user=root --password=«hunter2» db"),
    ("password", "app --password «hunter2» --verbose"),
    ("password", "/usr/bin/app\0--db-password\0«hunter2»\0--port\0 5432\0"),
    ("password", "PATH=/bin\0DB_PASSWORD=«hun ter2»\0HOME=/root\0"),
    ("password", r#"["app","--password","«hunter2»","-v"]"#),
    ("password", "mysql -uroot -p«hunter2» db"),
    ("password", "sshpass -p «hunter2» ssh host"),
    ("password", "redis-cli -h x -a «hunter2» ping"),
    ("password", "ldapsearch -x -D cn=admin -w «hunter2» -b dc=x"),
    ("password", "curl -s -u bob:«hunter2» https://x/"),
    ("password", "curl --user bob:«hunter2» https://x/"),
    ("token", "kubeadm join 10.0.0.1:6443 --token «abcdef.0123456789abcdef» --discovery"),
    // Headers.
    ("authorization", "Authorization: Bearer «abc.def.ghi»"),
    ("authorization", "authorization: Basic «Ym9iOmh1bnRlcjI=»"),
    ("authorization", "curl -H 'Authorization: Bearer «abcdefgh»' https://x/"),
    ("authorization", "curl -H \"Authorization: Token «abcdefgh»\" https://x/"),
    ("authorization", "Authorization: Digest «username=\"bob\", realm=\"x\", response=\"6629\"»"),
    ("authorization", "Authorization: AWS4-HMAC-SHA256 «Credential=AKIAIOSFODNN7EXAMPLE/2013/us, Signature=fe5f»"),
    ("authorization", "> Proxy-Authorization: Basic «Ym9iOmh1bnRlcjI=»\r"),
    ("authorization", r#"{"Authorization":["Bearer «abcdefgh»"]}"#),
    ("authorization", r#"{"log":"{\"authorization\":\"Bearer «abcdefgh»\"}"}"#),
    ("authorization", "map[Accept:[*/*] Authorization:[Bearer «abcdefgh»] Host:[x]]"),
    ("authorization", "sent header \"Authorization: Bearer «abc»\\r\\nHost: x\""),
    ("authorization", "using Bearer «abcdef0123456789xyz» for registry"),
    ("authorization", "sent Basic «Ym9iOmh1bnRlcjI=» to x"),
    ("authorization", "Authorization: Negotiate «YIIJvwYGKwYBBQUCoIIJszCC»"),
    ("cookie", "Cookie: «sid=abc; theme=dark»"),
    ("cookie", "Set-Cookie: «sid=abc; Path=/; HttpOnly»"),
    ("cookie", "curl -H 'Cookie: «a=b; c=d»' https://x"),
    ("cookie", r#"{"headers":{"cookie":"«a=b; c=d»","host":"x"}}"#),
    // URLs.
    ("url-password", "postgres://bob:«hunter2»@db:5432/x?sslmode=off"),
    ("url-password", "redis://:«hunter2»@cache:6379/0"),
    ("url-password", "amqp://u:«p@ss»@mq/vhost"),
    ("url-password", "url='https://bob:«hunter2»@example.com/a?b=c'"),
    ("url-password", r#"{"url":"https:\/\/bob:«hunter2»@example.com\/a"}"#),
    ("url-password", "bob:«hunter2»@tcp(db:3306)/x"),
    ("url-password", "https://«0123456789abcdef0123456789»@example.com/x.git"),
    ("signature", "https://x.blob.core.windows.net/a?sv=2020-08-04&se=2024&sig=«abc%2Fdef%3D»"),
    ("signature", "https://s3/x?X-Amz-Date=1&X-Amz-Signature=«0123456789abcdef»&y=1"),
    // Shapes.
    ("aws-key", "id «AKIAIOSFODNN7EXAMPLE» in use"),
    ("aws-key", "«AKIAIOSFODNN7EXAMPLE»,«wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"),
    ("github-token", "remote: «ghp_0123456789abcdefghijABCDEFGHIJ012345» denied"),
    ("github-token", "«github_pat_11ABCDEFG0123456789_abcdefghijklmnop»"),
    ("gitlab-token", "cloning with «glpat-abcdefghijklmnopqrst»"),
    ("slack-token", "slack «xoxb-123456789012-abcdefABCDEF» posted"),
    ("slack-token", "https://hooks.slack.com/services/«T00000000/B00000000/AbCdEfGhIjKlMnOpQrStUvWx»"),
    ("jwt", "got «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fw» from peer"),
    ("jwt", "got «eyJ4NXQiOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fw» from peer"),
    ("jwt", r#"{"log":"got\n«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.Sfl»\n"}"#),
    ("package-token", "//registry.npmjs.org/:_auth «npm_0123456789abcdefghijABCDEFGHIJ012345»"),
    ("stripe-key", "charge by «sk_live_0123456789abcdef»"),
    ("stripe-key", "\"whsec_0123\" and «whsec_0123456789abcdef»"),
    ("google-key", "maps?v=1 «AIzaSyA0123456789abcdefghijABCDEFGHIJ01»"),
    ("agent-secret", "enrolled by «sheaf1.0011223344556677.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ»"),
    ("cloud-token", "vault «hvs.CAESIJabcdefghijklmnopqrstuv» ok"),
    ("password-hash", "root:«$6$saltsalt$abcdefghijklmnopqrstuvwxyzABCDEFGHIJ/.0123456789»:19000:0:99999:7:::"),
    ("password-hash", "root:«$y$j9T$abcdefghijkl$abcdefghijklmnopqrstuvwxyzABCDEFGHIJ/.0123»:19000::"),
    ("password-hash", "bob:«$2y$10$abcdefghijklmnopqrstuvwxyzABCDEFGHIJ/.01234567890abcd»"),
    ("password-hash", "h=«$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo» x"),
    ("password-hash", "h=pbkdf2_sha256«$260000$saltsalt$c2FsdHNhbHRzYWx0c2FsdA==»"),
    ("password-hash", "x: {SSHA}«0c0blFTXXNuAMHECS4uxrj3ZieMoWImr»"),
    // Keys.
    ("private-key", "key «LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcEFJQkFBS0NBUUVB» end"),
];

/// Ordinary logs and configurations: every byte stays.
const FALSE: &[&str] = &[
    "sshd[1]: Accepted password for root from 10.0.0.1 port 22 ssh2",
    "sshd[1]: Failed password for invalid user admin from 10.0.0.1 port 22 ssh2",
    "FATAL:  password authentication failed for user \"bob\"",
    "error: invalid password: authentication failed",
    "pam_unix(sshd:auth): check pass; user unknown",
    "rate limiter: token bucket is full, 12 tokens left",
    "failed to fetch token: context deadline exceeded",
    "could not get token: Unauthorized",
    "oauth2: cannot fetch token: 401 Unauthorized",
    "cannot refresh token: x509: certificate signed by unknown authority",
    "Get token: Post \"https://auth.example/token\": dial tcp: i/o timeout",
    "MountVolume.SetUp succeeded for volume \"kube-api-access\" secret mounted",
    "secret \"my-secret\" not found",
    "Couldn't get secret kube-system/bootstrap: secrets \"bootstrap\" not found",
    "E0501 10:00:00 1 x.go:1] \"Unable to read\" secret=\"kube-system/bootstrap-token\" err=\"not found\"",
    "  secretName: my-tls-secret",
    "  secretKeyRef:\n    name: db\n    key: password",
    "imagePullSecrets:\n- name: regcred",
    "  secret:\n    secretName: x",
    "password_file=/etc/app/password",
    "password: /run/secrets/db-password",
    "tls_private_key=/etc/pki/tls/private/host.key",
    "token_type=bearer expires_in=3600",
    "prompt_tokens=128 completion_tokens=4096 tokens: 12345",
    "tokens=12 secret=0",
    "password=",
    "password: null",
    "password: \"\"",
    "password=****",
    "password=${DB_PASSWORD}",
    "password: {{ db_password }}",
    "password=<hidden>",
    "Enter password: ",
    "msg=\"bad token=\" user=\"bob\"",
    "msg=\"missing token\" user=\"bob\"",
    "use --password to set the password",
    "--password string   the password",
    "  --token TOKEN_FILE",
    "--password-file /etc/x",
    "user bob must change password on next login",
    "PWD=/root ; USER=root ; COMMAND=/bin/ls",
    "OLDPWD=/home/bob",
    "    bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/usr/bin/id",
    "test result: ok. pass: 12 fail: 0",
    "pass=12 fail=0 skip=3",
    "bypass=true compass: north",
    "primary key: id, foreign key=5",
    "\"key\":\"value\",\"cache_key\":\"users:1\"",
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDf bob@host public_key=yes",
    "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----",
    "certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSURkekNDQWwrZ0F3SUJBZ0lF",
    "expected -----BEGIN PRIVATE KEY----- header, found none",
    "BEGIN transaction; END transaction",
    "net.ipv4.tcp_syncookies = 1",
    "cookie=0x2b3, duration=5.2s, table=0, n_packets=12",
    "cookie: invalid or expired",
    "authorization: user not allowed to list pods",
    "Authorization failed for bob",
    "authorization-mode: Node,RBAC",
    "--authorization-mode=Node,RBAC",
    "bearer authentication failed",
    "Basic health check passed",
    "basic abcdefgh is not a pair",
    "https://registry.example:5000/img@sha256:0123456789abcdef",
    "https://example.com/@user/post and mail bob@example.com",
    "scp bob@host:/tmp/x . ; git@github.com:a/b.git",
    "user@1000.service: Main process exited",
    "GET /a?b=c&config=1 HTTP/1.1",
    "docker run -u 1000:1000 --user 1000:1000 x",
    "journalctl -u ssh.service",
    "mysqld[12]: ready for connections; -port 3306",
    "mysql -P 3306 -u root",
    "awk '{print $1$2}' costs $5 and $6$",
    "config: sheaf1 is the version, sheaf1.x is none",
    "eyJ is how a JWT starts",
    "AKIA is a prefix; xAKIAIOSFODNN7EXAMPLEx is none",
    "sk_live_ and ghp_ and glpat- and npm_install",
    "com.example.Password::new called, Token::parse",
    "keyboard: token ring",
    "\"auth\":\"none\",\"auth\": \"abcd\" unix_auth\"",
    "2026-11-21T10:00:00.123Z stderr F token: expired",
    "USER identified by certificate, IDENTIFIED BY nobody",
    "passenger=bob compassion: yes",
    "kernel: random: crng init done; key type dns_resolver registered",
    "Started Forward Password Requests to Wall Directory Watch.",
    "systemd-ask-password-console.path: Deactivated successfully",
    "audit: op=PAM:setcred grantors=pam_permit acct=\"root\" exe=\"/usr/sbin/sshd\"",
    "community edition 5.0, snmp community strings are hidden",
];

/// The text without its marks, and what redaction must make of it.
fn marked(label: &str, marked: &str) -> (String, String, u64) {
    let (mut plain, mut expected, mut count) = (String::new(), String::new(), 0);
    for (number, part) in marked.split('«').enumerate() {
        let (secret, rest) = if number == 0 { ("", part) } else { part.split_once('»').unwrap_or((part, "")) };
        plain.push_str(secret);
        plain.push_str(rest);
        if number > 0 {
            let _ = write!(expected, "[redacted:{label}]");
            count += 1;
        }
        expected.push_str(rest);
    }
    (plain, expected, count)
}

pub(super) fn all_true() -> Vec<(&'static str, String, String, u64)> {
    let key = |before: &str, after: &str, key: &str| marked("private-key", &format!("{before}«{key}»{after}"));
    let one_line = PEM.replace('\n', "\\n");
    let lines = PEM.replace('\n', "\\n\"}\n{\"log\":\"");
    let keys = [
        key("before\n", "\nafter", PEM),
        key("  indented: |\n    ", "\nx", &PEM.replace('\n', "\n    ")),
        key("{\"k\":\"", "\\n\",\"x\":1}\nnext line", &one_line),
        key("{\"log\":\"", "\\n\"}\nnext", &lines),
        key("", "\r\nafter", &PEM.replace('\n', "\r\n")),
        key("", "\n", &PEM.replace("RSA PRIVATE", "OPENSSH PRIVATE")),
        key(
            "",
            "\n",
            &PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK").replace("KEY-----\n", "KEY-----\nVersion: x\n\n"),
        ),
        key(
            "",
            "\n",
            &PEM.replace("KEY-----\nMIIE", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB\n\nMIIE"),
        ),
        key("cut:\n", "", PEM.split("short").next().unwrap_or_default()),
        // A log that begins inside a key.
        key("", "\nafter", &PEM[32..]),
    ];
    let keys = keys.into_iter().map(|(plain, expected, count)| ("private-key", plain, expected, count));
    let table = TRUE.iter().map(|(label, case)| {
        let (plain, expected, count) = marked(label, case);
        (*label, plain, expected, count)
    });
    table.chain(keys).collect()
}

#[test]
fn secrets_are_taken_out_and_nothing_else() {
    let mut wrong = String::new();
    for (label, plain, expected, count) in all_true() {
        for (plain, expected) in [
            (plain.clone(), expected.clone()),
            (format!("first line\n{plain}\nlast line\n"), format!("first line\n{expected}\nlast line\n")),
        ] {
            // What is cut or unclosed at the end of a source has no next line.
            if plain.ends_with("last line\n")
                && (expected.starts_with("first line\ncut:") || plain.contains("unclosed"))
            {
                continue;
            }
            if plain.starts_with("first line\nMII") {
                continue;
            }
            let (out, report) = cleaned(Kind::Text, plain.as_bytes());
            let counted = report.redacted.get(label).copied().unwrap_or(0);
            if text(&out) != expected || counted != count || report.redacted.len() != 1 {
                let _ = writeln!(
                    wrong,
                    "{label}: {plain}\n  want {expected}\n  got  {}\n  {:?}",
                    text(&out),
                    report.redacted
                );
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn ordinary_text_stays_as_it_is() {
    let mut wrong = String::new();
    for case in FALSE {
        for prefix in ["", "May  1 10:00:00 host app[12]: "] {
            let plain = format!("{prefix}{case}\n");
            let (out, report) = cleaned(Kind::Text, plain.as_bytes());
            if out != plain.as_bytes() {
                let _ = writeln!(wrong, "{plain}  {}  {:?}", text(&out), report.redacted);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn what_was_redacted_stays_as_it_is() {
    for (_, plain, expected, _) in all_true() {
        let (again, report) = cleaned(Kind::Text, expected.as_bytes());
        assert_eq!(text(&again), expected, "of {plain}");
        assert!(report.redacted.is_empty(), "{expected}: {:?}", report.redacted);
    }
}

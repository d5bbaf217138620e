-- accounts.db as the first release wrote it, sealed with the key of 32 bytes 7.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (
        name  TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
INSERT INTO meta VALUES('key_check',X'016066268f2800f415eed149cb703fbaad19cd0165fe739da7270591da8c3c0ad67bd25ffe8383b4e5643e3abd5b63bd256fff400e400711eb0e92970dc096fc4390ec7c86f4e944880f7a392878');
CREATE TABLE token_config (
        name          TEXT PRIMARY KEY NOT NULL,
        template      TEXT,
        declared_in   TEXT,
        valid         INTEGER NOT NULL,
        flow          TEXT NOT NULL CHECK (flow IN ('authorization_code', 'client_credentials')),
        -- Whose grant it is: client id and token endpoints, hashed.
        fingerprint   TEXT NOT NULL,
        entry         TEXT NOT NULL,
        client_secret BLOB NOT NULL
    ) STRICT;
INSERT INTO token_config VALUES('t',NULL,NULL,1,'authorization_code','2e8c2f08684f5e4966c315fa1e3c70d7f79e4da23541dddcaf5d3d3c14de93e3',replace('- Name: t\n  Config:\n    ClientID: client\n    ClientSecret: ""\n    Scope: mail\n    Notifications:\n      NotifyOnExpiredToken: 0\n      NotifyOnExpiredRefreshToken: 0\n    Requests:\n      AuthorizationCode:\n        Request:\n          URL: http://127.0.0.1:32909/authorize\n          Parameters:\n            response_type: code\n            access_type: offline\n          AutofilledParametersMapping:\n            client_id: ClientID\n            redirect_uri: RedirectURL\n            scope: Scope\n            state: State\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n      TokenByAuthorizationCode:\n        Request:\n          URL: http://127.0.0.1:32909/token\n          Parameters:\n            grant_type: authorization_code\n          AutofilledParametersMapping:\n            client_id: ClientID\n            client_secret: ClientSecret\n            code: AuthorizationCode\n            redirect_uri: RedirectURL\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n      TokenByRefreshToken:\n        Request:\n          URL: http://127.0.0.1:32909/token\n          Parameters:\n            grant_type: refresh_token\n          AutofilledParametersMapping:\n            client_id: ClientID\n            client_secret: ClientSecret\n            refresh_token: RefreshToken\n            scope: Scope\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n  ValidID: 1\n','\n',char(10)),X'016066268f2800f4159f85c64c9511be3fcf465ab75a6c13e70d353daaf836b8226be1eeb291821ede775a48d16a69854c161252f470f736fdc81b8377609a932951b0f48d3a');
INSERT INTO token_config VALUES('app',NULL,NULL,1,'client_credentials','40047ab52b495c5f7d30b1c9ae425f60e406b046c86c4ed501ab419f8bbc537c',replace('- Name: app\n  Config:\n    ClientID: client\n    ClientSecret: ""\n    Scope: mail\n    AuthFlow: ClientCredentials\n    Notifications:\n      NotifyOnExpiredToken: 0\n      NotifyOnExpiredRefreshToken: 0\n    Requests:\n      AuthorizationCode:\n        Request:\n          URL: http://127.0.0.1:32909/authorize\n          Parameters:\n            response_type: code\n            access_type: offline\n          AutofilledParametersMapping:\n            client_id: ClientID\n            redirect_uri: RedirectURL\n            scope: Scope\n            state: State\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n      TokenByAuthorizationCode:\n        Request:\n          URL: http://127.0.0.1:32909/token\n          Parameters:\n            grant_type: authorization_code\n          AutofilledParametersMapping:\n            client_id: ClientID\n            client_secret: ClientSecret\n            code: AuthorizationCode\n            redirect_uri: RedirectURL\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n      TokenByRefreshToken:\n        Request:\n          URL: http://127.0.0.1:32909/token\n          Parameters:\n            grant_type: refresh_token\n          AutofilledParametersMapping:\n            client_id: ClientID\n            client_secret: ClientSecret\n            refresh_token: RefreshToken\n            scope: Scope\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n      TokenByClientCredentials:\n        Request:\n          URL: http://127.0.0.1:32909/token\n          Parameters:\n            grant_type: client_credentials\n          AutofilledParametersMapping:\n            client_id: ClientID\n            scope: Scope\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n  ValidID: 1\n','\n',char(10)),X'016066268f2800f415000d019d363fb6ee28ff066a7275a332aa9a1ee3b66d7891f803ef6e9628529dcb112afd2b79833061ade8edcb4f62191c9d1dd9102bf0fa1cf051b1c7');
INSERT INTO token_config VALUES('declared','generic','postern.yaml',1,'authorization_code','2e8c2f08684f5e4966c315fa1e3c70d7f79e4da23541dddcaf5d3d3c14de93e3',replace('- Name: declared\n  Config:\n    ClientID: client\n    ClientSecret: ""\n    Scope: mail\n    Notifications:\n      NotifyOnExpiredToken: 0\n      NotifyOnExpiredRefreshToken: 0\n    Requests:\n      AuthorizationCode:\n        Request:\n          URL: http://127.0.0.1:32909/authorize\n          Parameters:\n            response_type: code\n            access_type: offline\n          AutofilledParametersMapping:\n            client_id: ClientID\n            redirect_uri: RedirectURL\n            scope: Scope\n            state: State\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n      TokenByAuthorizationCode:\n        Request:\n          URL: http://127.0.0.1:32909/token\n          Parameters:\n            grant_type: authorization_code\n          AutofilledParametersMapping:\n            client_id: ClientID\n            client_secret: ClientSecret\n            code: AuthorizationCode\n            redirect_uri: RedirectURL\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n      TokenByRefreshToken:\n        Request:\n          URL: http://127.0.0.1:32909/token\n          Parameters:\n            grant_type: refresh_token\n          AutofilledParametersMapping:\n            client_id: ClientID\n            client_secret: ClientSecret\n            refresh_token: RefreshToken\n            scope: Scope\n        Response:\n          ParametersMapping:\n            access_token: Token\n            refresh_token: RefreshToken\n  ValidID: 1\n','\n',char(10)),X'016066268f2800f415eb66a293ea2de72f141bb46985d367050808a4393120833727cce859e84e4277c7d108a6b449dbebab3ce06dd1f0539d263f9674244be6bcca748d0e2e');
CREATE TABLE token (
        config              TEXT NOT NULL REFERENCES token_config(name) ON DELETE CASCADE,
        subject             TEXT NOT NULL DEFAULT '',
        version             INTEGER NOT NULL,
        generation          INTEGER NOT NULL,
        state               TEXT NOT NULL CHECK (state IN ('needs_consent', 'ready', 'broken')),
        access_token        BLOB,
        access_version      INTEGER,
        obtained_at         INTEGER,
        expires_at          INTEGER,
        refresh_at          INTEGER,
        rejected            INTEGER NOT NULL DEFAULT 0,
        refresh_token       BLOB,
        refresh_obtained_at INTEGER,
        refresh_expires_at  INTEGER,
        failure_at          INTEGER,
        failure_words       TEXT,
        failure_advice      TEXT,
        retry_at            INTEGER,
        attempts            INTEGER NOT NULL DEFAULT 0,
        refusals            INTEGER NOT NULL DEFAULT 0,
        refreshes           INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (config, subject)
    ) STRICT;
INSERT INTO token VALUES('t','',5,2,'ready',X'016066268f2800f415ed24c4750558302c9544b7f2b3ce2cd1636efd562b97e7485d7d0f7e29c6c97c8621313b0f2a9d7daf41e0bd599100979357f97d797e6a0a',5,1795521432507,1795525032507,1795524097093,0,X'016066268f2800f415f1066b4acc99639732f77d1fd1adc307eacbbdc6f3e1f8d6ec340f44c77ba678e822c08607c8b5d18bf47b0d574270253d2eefcb0aba8afbcbf879a08e',1795521432503,NULL,NULL,NULL,NULL,NULL,0,0,2);
INSERT INTO token VALUES('app','',2,0,'ready',X'016066268f2800f41564d00d7390bbcef8e726d3425948b9b6058f45b460dd1e3362593fcb80d4cb64880ea8504c0772f03d24818ec2ac606b05367a10e9b4abc9',2,1795521432502,1795525032502,1795524084973,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,1);
INSERT INTO token VALUES('declared','',1,0,'needs_consent',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0);
CREATE TABLE former_refresh_token (
        id            INTEGER PRIMARY KEY,
        config        TEXT NOT NULL,
        subject       TEXT NOT NULL DEFAULT '',
        fingerprint   TEXT NOT NULL,
        refresh_token BLOB NOT NULL,
        kept_at       INTEGER NOT NULL,
        why           TEXT NOT NULL
    ) STRICT;
INSERT INTO former_refresh_token VALUES(1,'t','','2e8c2f08684f5e4966c315fa1e3c70d7f79e4da23541dddcaf5d3d3c14de93e3',X'016066268f2800f415b38ea8fa0f10e1b7327b7b2a303e5f50027931284494d6be08a7f072569a6b9cbce8f8d81c4cc05c1324d375925de2de64ea25d246672aa975',1795521432503,'another refresh token was seeded');
CREATE TABLE consent (
        state        TEXT PRIMARY KEY NOT NULL,
        session      TEXT NOT NULL,
        config       TEXT NOT NULL REFERENCES token_config(name) ON DELETE CASCADE,
        fingerprint  TEXT NOT NULL,
        redirect_uri TEXT NOT NULL,
        verifier     BLOB NOT NULL,
        expires_at   INTEGER NOT NULL
    ) STRICT;
INSERT INTO consent VALUES('47194ea5bb30b72ea292fa2ec6725e1698bedcce0fc3a951cabd29acf20da6fa','1e2952b478968fb69e105423445683880726a3929232c26772e629d7ecf762cd','t','2e8c2f08684f5e4966c315fa1e3c70d7f79e4da23541dddcaf5d3d3c14de93e3','http://localhost/cb',X'016066268f2800f415ddc32defeb9ffea685cdfa472eecf5203d8da383a6bdafd66bb8304e5d6fa591f2828efb2560c1f94c8158e9c214881c45f4ca3543f1a8acd6a52c28c6d7b2379be500c956ba85bf4ba91eea2d4f56e6d03dc5',1795522032511);
CREATE TABLE mailbox (
        name         TEXT PRIMARY KEY NOT NULL,
        declared_in  TEXT,
        token_config TEXT REFERENCES token_config(name),
        definition   TEXT NOT NULL,
        password     BLOB
    ) STRICT;
INSERT INTO mailbox VALUES('box','postern.yaml','declared','{"name":"box","host":"imap.example.com","port":993,"tls":"implicit","tls_ca_file":null,"user":"support@example.com","auth":{"token":"declared"},"sasl":"auto","folders":["INBOX"],"max_undelivered":500,"watch":{"every":{"secs":60,"nanos":0}},"poll":{"secs":300,"nanos":0},"start_from":{"date":0},"max_size":1048576,"deliver":{"command":["cat"],"timeout":{"secs":600,"nanos":0},"concurrency":1},"after":{"move":{"folder":"Done","create":true}},"paused":false,"idle_minutes":25,"declared_in":"postern.yaml"}',NULL);
INSERT INTO mailbox VALUES('plain','postern.yaml',NULL,'{"name":"plain","host":"imap.example.com","port":993,"tls":"implicit","tls_ca_file":null,"user":"support@example.com","auth":"password","sasl":"auto","folders":["INBOX"],"max_undelivered":500,"watch":{"every":{"secs":60,"nanos":0}},"poll":{"secs":300,"nanos":0},"start_from":{"date":0},"max_size":1048576,"deliver":{"command":["cat"],"timeout":{"secs":600,"nanos":0},"concurrency":1},"after":{"move":{"folder":"Done","create":true}},"paused":false,"idle_minutes":25,"declared_in":"postern.yaml"}',X'016066268f2800f415d4234934351e8dacef8ef35e569e9e6f3cef2f30e8d798d15c9a96c164461058fce8ee29a657b24ebbda4feb15ecd7bbf09b6042da263e4962bf6605f50f7280');
CREATE TABLE relay (
        name         TEXT PRIMARY KEY NOT NULL,
        declared_in  TEXT,
        token_config TEXT REFERENCES token_config(name),
        definition   TEXT NOT NULL,
        password     BLOB
    ) STRICT;
INSERT INTO relay VALUES('out','postern.yaml','t','{"name":"out","host":"smtp.example.com","port":587,"tls":"starttls","tls_ca_file":"/etc/ca.pem","user":"support@example.com","auth":{"token":"t"},"sasl":"xoauth2","senders":["*"],"connections":3,"rate":30,"keep_trying":{"secs":432000,"nanos":0},"no_initial_response":true,"paused":true,"declared_in":"postern.yaml"}',NULL);
CREATE TABLE admin (
        name          TEXT PRIMARY KEY NOT NULL,
        password_hash TEXT NOT NULL,
        changed_at    INTEGER NOT NULL
    ) STRICT;
INSERT INTO admin VALUES('admin','$argon2id$v=19$m=19456,t=2,p=1$gR4bG3a2LlVLa795D6wbvQ$gx3NghgQli1jxg/zIJX5ymwhrvdXt2khnH/PqKerVQM',1795521432561);
CREATE TABLE session (
        id         TEXT PRIMARY KEY NOT NULL,
        admin      TEXT NOT NULL REFERENCES admin(name) ON DELETE CASCADE,
        csrf       TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        seen_at    INTEGER NOT NULL
    ) STRICT;
CREATE TABLE audit (
        id   INTEGER PRIMARY KEY,
        at   INTEGER NOT NULL,
        who  TEXT NOT NULL,
        what TEXT NOT NULL
    ) STRICT;
INSERT INTO audit VALUES(1,1795521432561,'admin','made it all');
CREATE INDEX former_refresh_token_config ON former_refresh_token (config, fingerprint);
COMMIT;
PRAGMA application_id = 1349743681;
PRAGMA user_version = 1;

package nats

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// write puts a file into the folder of a configuration.
func write(t testing.TB, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// identity is a user's seed and public key.
func identity(t testing.TB) (seed []byte, public string, pair nkeys.KeyPair) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return seed, public, pair
}

// credentials are what nsc would write: a JWT signed by an account, and the user's seed.
func credentials(t testing.TB, account nkeys.KeyPair, public string, seed []byte, expires time.Time) []byte {
	t.Helper()
	claims := jwt.NewUserClaims(public)
	if !expires.IsZero() {
		claims.Expires = expires.Unix()
	}
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Every mistake is found before anything is started, and named with its line, its column and what to do.
func TestConfigurationMistakesHaveAPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed, public, _ := identity(t)
	otherSeed, _, _ := identity(t)
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	ca := brokers.NewCA(t)
	cert, key := ca.Issue(t, brokers.Cert{Name: "kemi"})
	_, otherKey := ca.Issue(t, brokers.Cert{Name: "other"})
	oldCert, oldKey := ca.Issue(t, brokers.Cert{Name: "old", NotAfter: time.Now().Add(-time.Hour)})
	write(t, dir, "good.creds", credentials(t, account, public, seed, time.Time{}))
	write(t, dir, "old.creds", credentials(t, account, public, seed, time.Now().Add(-time.Hour)))
	write(t, dir, "mixed.creds", bytes.ReplaceAll(credentials(t, account, public, seed, time.Time{}), seed, otherSeed))
	write(t, dir, "good.nk", seed)
	write(t, dir, "word.txt", []byte("swordfish"))
	for _, c := range []struct{ text, want string }{
		{"{}", ""},
		{"{embedded: true}", ""},
		{"{embedded: true, urls: []}", ""},
		{"{urls: ['nats://a:4222', 'nats://[::1]:4222', tls://b]}", ""},
		{"{urls: ['nats://u:p%40ss@a']}", ""},
		{"{urls: [ws://a/path]}", ""},
		{"{urls: [nats://a], creds_file: good.creds}", ""},
		{"{urls: [nats://a], nkey_file: good.nk}", ""},
		{"{urls: [nats://a], user: u, password_file: word.txt}", ""},
		{"{urls: [nats://a], token_file: word.txt, inbox_prefix: _INBOX.kemi}", ""},
		{"{urls: [nats://a], tls: {ca_file: " + ca.File + ", cert_file: " + cert + ", key_file: " + key + "}}", ""},
		{"{urls: [nats://a], tls: {}}", ""},
		{"urls:\n- nats://a:4222\n- nats://b:4222\n", ""},

		{"{embedded: false}", `1:12: embedded: false without urls leaves no server to use: write urls: ["nats://host:4222"], or embedded: true`},
		{"{urls: []}", `1:8: urls is empty: name a server, urls: ["nats://host:4222"], or write embedded: true`},
		{"urls:\n", `1:1: urls is empty: name a server`},
		{"{embedded: false, urls: []}", `1:25: urls is empty: name a server`},
		{"{embedded: true, urls: [nats://a]}", `1:12: embedded and urls exclude each other: remove one of them`},
		{"{urls: 'nats://u:swordfish@a'}", `1:8: expected a list for "urls": write urls: ["nats://host:4222"]`},
		{"{urls: ['']}", "1:9: an empty address: "},
		{"{urls: [nats://a, 'b:4222']}", `1:19: the address b:4222 has no scheme: write it like "nats://host:4222"`},
		{"{urls: ['u:swordfish@b']}", "1:9: the address …@b has no scheme: "},
		{"{urls: ['http://a:8222']}", `1:9: the scheme "http" is none of a NATS server: use nats://, tls://, ws:// or wss://`},
		{"{urls: ['nats://a:4222,nats://b:4222']}", "1:9: several addresses in one: make each an entry of its own in urls"},
		{"{urls: ['nats://:4222']}", "1:9: the address nats://:4222 has no host: "},
		{"{urls: ['nats://a:']}", "1:9: the address nats://a: has no port behind the colon: "},
		{"{urls: ['nats://a:4222x']}", "1:9: the address nats://a:4222x cannot be read: "},
		{"{urls: ['nats://a:70000']}", "1:9: 70000 is no port: "},
		{"{urls: ['nats://a:4222/kemi']}", "1:9: the address nats://a:4222/kemi has something behind the port: "},
		{"{urls: ['nats://u:sword%fish@a']}", "1:9: the address nats://…@a cannot be read: "},
		{"{urls: [ws://a, nats://b]}", "1:17: ws and other addresses cannot be mixed: "},
		{"{urls: [nats://a], user: u}", "1:26: a user without a password: give password or password_file"},
		{"{urls: [nats://a], password: swordfish}", "1:30: a password without a user: "},
		{"{urls: [nats://a], user: u, password: swordfish, token: swordfish}", "1:57: user and token exclude each other: keep one of them"},
		{"{urls: [nats://a], token: swordfish, creds_file: good.creds}", "1:50: token and creds_file exclude each other: "},
		{"{urls: ['nats://u:swordfish@a'], creds_file: good.creds}", "1:8: creds_file and the user in urls exclude each other: "},
		{"{user: u, password: swordfish}", "1:8: user is for an external server, and there are no urls: "},
		{"{tls: {}}", "1:7: tls is for an external server, and there are no urls: "},
		{"{urls: [nats://a], creds_file: no.creds}", "1:32: " + dir + "/no.creds: there is no such file: check the path: it is relative to the configuration file"},
		{"{urls: [nats://a], creds_file: .}", "the file cannot be read (is a directory): "},
		{"{urls: [nats://a], creds_file: word.txt}", "1:32: " + dir + "/word.txt: there is no NATS user JWT in the file: make it with nsc"},
		{"{urls: [nats://a], creds_file: good.nk}", "there is no NATS user JWT in the file: "},
		{"{urls: [nats://a], creds_file: mixed.creds}", "the seed in the file belongs to another user than the JWT: "},
		{"{urls: [nats://a], creds_file: old.creds}", "old.creds: the credentials expired at 20"},
		{"{urls: [nats://a], nkey_file: word.txt}", "1:31: " + dir + "/word.txt: there is no user seed in the file: a user's seed begins with SU"},
		{"{urls: [nats://a], tls: {ca_file: no.pem}}", "1:35: " + dir + "/no.pem: there is no such file: "},
		{"{urls: [nats://a], tls: {ca_file: word.txt}}", "1:35: " + dir + "/word.txt: it holds no certificate in PEM: "},
		{"{urls: [nats://a], tls: {cert_file: " + cert + "}}", "a certificate without its key: give key_file too"},
		{"{urls: [nats://a], tls: {key_file: " + key + "}}", "a key without its certificate: give cert_file too"},
		{"{urls: [nats://a], tls: {cert_file: " + cert + ", key_file: " + otherKey + "}}", "are no certificate with its key (tls: private key does not match public key): "},
		{"{urls: [nats://a], tls: {cert_file: " + oldCert + ", key_file: " + oldKey + "}}", "the certificate expired at 20"},
		{"{prefix: a.b}", `1:10: prefix "a.b" cannot begin the name of a stream: only letters, digits, _ and - are allowed`},
		{"{inbox_prefix: a.}", `1:16: inbox_prefix "a." cannot begin a subject: `},
		{"{replicas: 7, urls: [nats://a]}", "1:12: 7 replicas: 1 to 5 are possible"},
		{"{replicas: 3}", "1:12: an embedded server keeps one replica: use urls of a cluster for more"},
		{"{url: nats://a}", `unknown key "url": did you mean "urls"?`},
	} {
		nodes, problems := conf.Parse(filepath.Join(dir, "kemi.yaml"), []byte(c.text))
		if len(problems) > 0 {
			t.Fatalf("%s: %v", c.text, problems)
		}
		var got Config
		problems = nodes[0].Into(&got)
		text := problems.Error()
		switch {
		case c.want == "" && len(problems) > 0:
			t.Errorf("%s: got %s", c.text, text)
		case c.want != "" && (len(problems) != 1 || !strings.Contains(text, c.want)):
			t.Errorf("%s: got %s; want %s", c.text, text, c.want)
		case strings.Contains(text, "swordfish") || strings.Contains(text, string(seed)):
			t.Errorf("%s: a secret is shown: %s", c.text, text)
		case c.want == "":
			d, err := New(got, "d", obs.Scope{})
			if err != nil {
				t.Errorf("%s: %v", c.text, err)
				continue
			}
			if _, err := d.config.login(); err != nil {
				t.Errorf("%s: %v", c.text, err)
			}
		}
	}
}

// Who makes a driver by hand learns the same.
func TestADriverIsNotMadeOfMistakes(t *testing.T) {
	for _, c := range []struct {
		config Config
		dir    string
		want   string
	}{
		{Config{Embedded: true, URLs: []string{"nats://x"}}, "d", "exclude each other"},
		{Config{}, "", "data directory"},
		{Config{URLs: []string{"x"}}, "", "has no scheme"},
		{Config{URLs: []string{"nats://x"}, Prefix: "a b", Replicas: 9}, "", "9 replicas"},
	} {
		_, err := New(c.config, c.dir, obs.Scope{})
		wants(t, err, c.want)
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"nats://a:4222", "nats://u:swordfish@a:1", "tls://swordfish@b", "u:swordfish@c", "nats://u:swordfish@@d/x?y#z", "ws://[::1]:1/p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		what, _ := judgeURL(text)
		shown := redact(text)
		if i := strings.LastIndexByte(text, '@'); i >= 0 {
			_, secret, _ := strings.Cut(text[:i], "://")
			if secret == "" {
				secret = text[:i]
			}
			if len(secret) > 8 && !strings.Contains(text[i:], secret) && (strings.Contains(shown, secret) || strings.Contains(what, secret)) {
				t.Fatalf("%q is shown as %q and %q", text, shown, what)
			}
		}
		if what == "" {
			if u, err := url.Parse(text); err != nil || u.Hostname() == "" {
				t.Fatalf("%q is taken for an address", text)
			}
		}
	})
}

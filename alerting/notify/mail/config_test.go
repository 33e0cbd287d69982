package mail

import (
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/internal/conf"
)

func TestSettingsThatCannotWorkAreFound(t *testing.T) {
	for yaml, want := range map[string]string{
		`{from: a@b.c}`:                                                "there is no server",
		`{host: "x:25", from: a@b.c}`:                                  "no name of a host",
		`{host: x}`:                                                    "nobody writes the mail",
		`{host: x, from: nobody}`:                                      "no mail address",
		`{host: x, from: a@b.c, to: [d@e.f, "jo"]}`:                    `"jo" is no mail address`,
		`{host: x, from: a@b.c, port: 99999}`:                          "port is out of range",
		`{host: x, from: a@b.c, encryption: ssl}`:                      `no encryption "ssl"`,
		`{host: x, from: a@b.c, username: u}`:                          "without its password",
		`{host: x, from: a@b.c, password: p}`:                          "nobody to log in",
		`{host: x, from: a@b.c, username: u, password: p, auth: ntlm}`: `"ntlm"`,
		`{host: x, from: a@b.c, username: u, password: p, auth: plain, encryption: none}`:       "for everybody to read",
		`{host: x, from: a@b.c, timeout: 0s}`:                                                   "timeout is out of range",
		`{host: x, from: a@b.c, hello: "a b"}`:                                                  "no name of a host",
		`{host: x, from: a@b.c, tls: {ca_file: none.pem}}`:                                      "none.pem",
		`{host: x, from: a@b.c, template: {subject: "{{ x }}"}}`:                                `function "x" not defined`,
		`{host: x, from: Kemi <a@b.c>, to: [d@e.f], username: u, password: p, reply_to: g@h.i}`: "",
	} {
		nodes, _ := conf.Parse(filepath.Join(t.TempDir(), "kemi.yaml"), []byte(yaml))
		c := Default()
		problems := nodes[0].Into(&c)
		if want == "" && len(problems) > 0 || want != "" && (len(problems) != 1 || !strings.Contains(problems[0].String(), want)) {
			t.Errorf("%s: %v; want %q", yaml, problems, want)
		}
	}
	for encryption, want := range map[string]string{startTLS: "x:587", implicitTLS: "x:465", unencrypted: "x:25", opportunistic: "x:25"} {
		if c := (Config{Host: "x", Encryption: encryption}); c.addr() != want {
			t.Errorf("%s: %s", encryption, c.addr())
		}
	}
}

package subscription

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// The vector that the specification and its libraries publish.
func TestSignaturesAreThoseOfStandardWebhooks(t *testing.T) {
	const id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	at := time.Unix(1614265330, 0)
	all, err := parseKeys(secretOne)
	if err != nil {
		t.Fatal(err)
	}
	h := all.headers(id, at, []byte(body))
	if h["webhook-id"] != id || h["webhook-timestamp"] != "1614265330" || h["webhook-signature"] != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signed %v", h)
	}
	// While the secret is changed, whoever has the old one and whoever has the new one both trust it.
	if all, err = parseKeys(secretTwo + "\n" + secretOne + "\n"); err != nil {
		t.Fatal(err)
	}
	h = all.headers(id, at, []byte(body))
	get := func(name string) string { return h[name] }
	for _, secret := range []string{secretOne, secretTwo} {
		if err := verify(secret, get, []byte(body), at); err != nil {
			t.Error(err)
		}
	}
	if !strings.HasSuffix(h["webhook-signature"], " v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=") {
		t.Errorf("the newest is not first: %s", h["webhook-signature"])
	}
	for name, bad := range map[string]func() error{
		"another body":   func() error { return verify(secretOne, get, []byte(body+" "), at) },
		"another secret": func() error { return verify("whsec_"+strings.Repeat("A", 32), get, []byte(body), at) },
		"an old one":     func() error { return verify(secretOne, get, []byte(body), at.Add(time.Hour)) },
		"another id": func() error {
			h["webhook-id"] += "x"
			return verify(secretOne, get, []byte(body), at)
		},
	} {
		if bad() == nil {
			t.Errorf("%s is trusted", name)
		}
	}
}

func FuzzSecretsAreReadAndNeverShown(f *testing.F) {
	for _, s := range []string{secretOne, secretOne + " " + secretTwo, "", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!", "\n\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseKeys(text)
		if err != nil {
			for word := range strings.FieldsSeq(text) {
				if len(word) > 12 && strings.Contains(err.Error(), word) {
					t.Errorf("%q shows the secret", err)
				}
			}
			return
		}
		if len(all) != len(strings.Fields(text)) {
			t.Errorf("%d keys of %q", len(all), text)
		}
		h := all.headers("id", time.Unix(1, 0), []byte("{}"))
		for i, secret := range strings.Fields(text) {
			if err := verify(secret, func(n string) string { return h[n] }, []byte("{}"), time.Unix(1, 0)); err != nil {
				t.Errorf("secret %d: %v", i, err)
			}
		}
	})
}

func decoded(text string) (map[string]Config, conf.Problems) {
	nodes, problems := conf.ParseRaw("kemi.yaml", []byte(text))
	if len(problems) > 0 || len(nodes) == 0 {
		return nil, problems
	}
	var all map[string]Config
	problems = nodes[0].Into(&all)
	return all, problems
}

func TestMistakesInTheConfigurationAreNamedWithTheirPlace(t *testing.T) {
	good, problems := decoded("audit: {team: billing, topics: [incidents, pages], url: 'https://hooks.example/kemi', secret: " + secretOne + "}")
	if c := good["audit"]; len(problems) > 0 || c.Team != "billing" || len(c.Topics) != 2 || c.Timeout != 10*time.Second || c.GiveUpAfter != 24*time.Hour {
		t.Fatalf("%+v %v", c, problems)
	}
	for text, want := range map[string]string{
		"audit: {url: 'http://x/', secret: " + secretOne + "}":                                             "it subscribes to nothing",
		"audit: {topics: [incident], url: 'http://x/', secret: " + secretOne + "}":                         `kemi.yaml:1:18: "incident" is no topic to subscribe to: did you mean "incidents"`,
		"audit: {topics: [weather], url: 'http://x/', secret: " + secretOne + "}":                          `"weather" is no topic to subscribe to: there are incidents, alerts, pages, findings, targets`,
		"audit: {topics: [pages, pages], url: 'http://x/', secret: " + secretOne + "}":                     "pages is there twice",
		"audit: {topics: [pages], secret: " + secretOne + "}":                                              "there is no url",
		"audit: {topics: [pages], url: 'ftp://x/', secret: " + secretOne + "}":                             "not one of a web server",
		"audit: {topics: [pages], url: 'http://x/'}":                                                       "there is no secret to sign with",
		"audit: {topics: [pages], url: 'http://x/', secret: hunter2}":                                      "secret 1 does not begin with whsec_",
		"audit: {topics: [pages], url: 'http://x/', secret: 'whsec_AAAA'}":                                 "secret 1 has 3 bytes, not 24 to 64",
		"audit: {topics: [pages], url: 'http://x/', secret_file: nowhere.key}":                             "nowhere.key",
		"audit: {topics: [pages], url: 'http://x/', secret: " + secretOne + ", tema: x}":                   `did you mean "team"`,
		"audit: {topics: [pages], url: 'http://x/', secret: " + secretOne + ", give_up_after: 90d}":        "give_up_after is out of range",
		"audit: {topics: [pages], url: 'http://x/', secret: " + secretOne + ", timeout: 1h}":               "timeout is out of range",
		"audit: {topics: [pages], url: 'http://x/', secret: '" + secretOne + " " + secretOne[:20] + "..'}": "secret 2 is not base64",
	} {
		_, problems := decoded(text)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  said %v\n  want %s", text, err, want)
		} else if strings.Contains(err.Error(), secretOne[6:]) {
			t.Errorf("%v shows the secret", err)
		}
	}
	for _, name := range []string{"", "a b", "a/b", "a.b", "ü", strings.Repeat("x", 49)} {
		if CheckName(name) == "" {
			t.Errorf("%q is a name", name)
		}
	}
	if CheckName("Billing_audit-2") != "" {
		t.Error("a plain name is none")
	}
}

func FuzzTheConfigurationIsReadWithoutAPanic(f *testing.F) {
	f.Add("audit: {team: billing, topics: [incidents, pages], url: 'https://hooks.example/kemi', secret: " + secretOne + "}")
	f.Add("audit: {topics: {}, url: [], secret: {a: b}, tls: {ca_file: x}}")
	f.Add("- audit")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_file") {
			t.Skip("names files")
		}
		all, problems := decoded(text)
		if len(problems) > 0 {
			return
		}
		for name, c := range all {
			if len(c.Topics) == 0 || c.Secret.IsZero() || c.URL.IsZero() {
				t.Errorf("%s: %+v has no complaint", name, c)
			}
		}
	})
}

func TestAttemptsThatGoOutTogetherFailAsOne(t *testing.T) {
	var g gate
	for range 4 {
		if turn, ok := g.enter(t.Context(), nil); !ok || turn != 0 {
			t.Fatal("an open gate holds back")
		}
	}
	for range 4 {
		g.failed(0, 0, longestWait)
	}
	if g.failures != 1 || time.Until(g.until) > 2*time.Second || g.down() {
		t.Errorf("%d failures, closed for %s", g.failures, time.Until(g.until))
	}
	g.worked(0) // One that was under way.
	if turn, ok := g.enter(t.Context(), nil); !ok || turn != 2 || g.failures != 0 {
		t.Error("one that worked does not open it")
	}
	stop := make(chan struct{})
	close(stop)
	g.failed(2, time.Hour, longestWait)
	if _, ok := g.enter(t.Context(), stop); ok {
		t.Error("a closed gate lets pass")
	}
	if w := wait(1000, longestWait); w < 4*time.Minute || w > 6*time.Minute {
		t.Errorf("waits %s", w)
	}
}

func TestWhichAnswersAreAboutTheEvent(t *testing.T) {
	for answer, want := range map[string]bool{"500 Internal Server Error oops": true, "501 Not Implemented": true, "502 Bad Gateway": false, "503 x": false, "504": false, "": false, "429 Too Many": false} {
		if broke(answer) != want {
			t.Errorf("%q: %v", answer, !want)
		}
	}
	if id := webhookID("computed", []byte(`{"id":"1234.5"}`)); strings.Contains(id, ".") || id == "computed" {
		t.Errorf("a stranger's id became %q", id)
	}
	if id := webhookID("computed", []byte(`{"id":"a-b_c"}`)); id != "a-b_c" {
		t.Errorf("an id became %q", id)
	}
}

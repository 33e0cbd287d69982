package post

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

func client(t *testing.T, url string, change ...func(*Config)) *Client {
	t.Helper()
	c := Default()
	c.URL = conf.NewSecret(url)
	for _, f := range change {
		f(&c)
	}
	made, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestRetryAfterMayBeADate(t *testing.T) {
	now := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	if got := RetryAfter("Sat, 21 Nov 2026 22:01:30 GMT", now); got != 90*time.Second {
		t.Errorf("got %s", got)
	}
	if got := RetryAfter("Sat, 21 Nov 2026 21:00:00 GMT", now); got != 0 {
		t.Errorf("got %s for a time that is over", got)
	}
}

// The other side does what it should not, or what only looks like an answer.
func TestWhatComesBackDecidesWhetherItIsTriedAgain(t *testing.T) {
	quit := make(chan struct{})
	elsewhere := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			_, _ = io.WriteString(w, `{"result": {"code": 0, "list": [{"ok": true}], "nothing": null}, "text": "fine"}`)
		case "/inside":
			w.Header().Set("Retry-After", "7")
			_, _ = io.WriteString(w, `{"result": {"code": -10, "message": "limit has been exceeded"}}`)
		case "/never":
			_, _ = io.WriteString(w, `{"result": {"code": "-401"}}`)
		case "/text":
			_, _ = io.WriteString(w, "<html>login</html>")
		case "/huge":
			_, _ = io.WriteString(w, strings.Repeat(" ", 2<<20)+`{"result": {"code": 0}}`)
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		case "/elsewhere":
			elsewhere = true
		case "/busy":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/later":
			w.Header().Set("Retry-After", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/gateway":
			w.WriteHeader(http.StatusBadGateway)
		case "/hangup":
			panic(http.ErrAbortHandler)
		case "/taken":
			w.WriteHeader(http.StatusConflict)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"result":`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/hang":
			select {
			case <-quit:
			case <-r.Context().Done():
			}
		case "/drip":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			select {
			case <-quit:
			case <-r.Context().Done():
			}
		}
	}))
	defer srv.Close()
	defer close(quit)
	zero, yes := Literal("0"), Literal("true")
	code := &Expect{JSON: "result.code", Equals: &zero, Permanent: []Literal{"-401"}}
	for _, c := range []struct {
		path      string
		expect    *Expect
		ok        bool
		permanent bool
		after     time.Duration
		says      string
		not       bool // It certainly did not arrive.
	}{
		{path: "/later", after: 2 * time.Hour, not: true, says: "503"},
		{path: "/gateway", says: "502"},
		{path: "/hangup", says: "EOF"},
		{path: "/ok", ok: true},
		{path: "/ok", expect: code, ok: true},
		{path: "/ok", expect: &Expect{JSON: "result.list.0.ok", Equals: &yes}, ok: true},
		{path: "/ok", expect: &Expect{JSON: "result.list.0.ok"}, ok: true},
		{path: "/ok", expect: &Expect{JSON: "result.list"}, ok: true},
		{path: "/ok", expect: &Expect{JSON: "result.nothing"}, not: true, says: `result.nothing is "null"`},
		{path: "/ok", expect: &Expect{JSON: "result.list.1.ok"}, says: "it has no result.list.1.ok"},
		{path: "/ok", expect: &Expect{JSON: "result.code.deeper"}, says: "it has no result.code.deeper"},
		{path: "/ok", expect: &Expect{Contains: "fine"}, ok: true},
		{path: "/ok", expect: &Expect{Contains: "great"}, says: `it does not contain "great"`},
		{path: "/ok", expect: &Expect{Status: []int{201}}, permanent: true},
		{path: "/taken", expect: &Expect{Status: []int{200, 409}}, ok: true},
		{path: "/inside", expect: code, not: true, after: 7 * time.Second, says: `result.code is "-10", not "0"`},
		{path: "/never", expect: code, not: true, permanent: true, says: `result.code is "-401", not "0"`},
		{path: "/text", expect: code, says: "it is no JSON"},
		{path: "/huge", expect: code, says: "larger than 1 MiB"},
		{path: "/huge", ok: true},
		{path: "/moved", not: true, permanent: true, says: "redirects are not followed"},
		{path: "/busy", not: true, after: 2 * time.Minute},
		{path: "/gone", not: true, permanent: true},
		{path: "/cut", ok: true},
		{path: "/cut", expect: code, says: "unexpected EOF"},
		{path: "/hang", says: "deadline exceeded"},
		{path: "/drip", ok: true},
		{path: "/drip", expect: code, says: "deadline exceeded"},
	} {
		name := c.path
		if c.expect != nil {
			name += fmt.Sprint(c.expect.JSON, c.expect.Contains, c.expect.Status)
		}
		t.Run(name, func(t *testing.T) {
			r := Request{Body: []byte("{}")}
			if c.expect != nil {
				r.Statuses, r.Check = c.expect.Status, c.expect.Check()
			}
			answer, err := client(t, srv.URL+c.path, func(c *Config) { c.Timeout = 300 * time.Millisecond }).Send(t.Context(), r)
			if (err == nil) != c.ok || notify.IsPermanent(err) != c.permanent || notify.RetryIn(err).Round(time.Minute) != c.after.Round(time.Minute) {
				t.Errorf("got %v, permanent %v, after %s", err, notify.IsPermanent(err), notify.RetryIn(err))
			}
			if want := map[bool]event.Arrival{c.ok: event.Arrived, c.not: event.NotArrived}[true]; notify.ArrivalOf(err) != cmp.Or(want, event.ArrivalUnknown) {
				t.Errorf("it is %s: %v", notify.ArrivalOf(err), err)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %q in it", err, c.says)
			}
			if len(answer) > 600 || strings.ContainsAny(answer, "\n\r") {
				t.Errorf("the answer is %q", answer)
			}
		})
	}
	if elsewhere {
		t.Error("a redirect was followed")
	}
}

// secure serves HTTPS with a certificate for the host that is named.
func secure(t *testing.T, ca *brokers.CA, cert brokers.Cert) string {
	t.Helper()
	certFile, keyFile := ca.Issue(t, cert)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.ServeTLS(ln, certFile, keyFile); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return "https://" + ln.Addr().String() + "/T0KEN"
}

func TestABadCertificateGetsNoPage(t *testing.T) {
	ca, stranger := brokers.NewCA(t), brokers.NewCA(t)
	good, other := secure(t, ca, brokers.Cert{Name: "good"}), secure(t, ca, brokers.Cert{Name: "other", Hosts: []string{"chat.example"}})
	expired := secure(t, ca, brokers.Cert{Name: "old", NotAfter: time.Now().Add(-time.Hour)})
	here := conf.Pos{File: filepath.Join(t.TempDir(), "kemi.yaml")}
	trusts := func(ca *brokers.CA) func(*Config) {
		return func(c *Config) { c.TLS = &certs.Client{At: here, CAFile: ca.File} }
	}
	if _, err := client(t, good, trusts(ca)).Send(t.Context(), Request{}); err != nil {
		t.Errorf("a good certificate: %v", err)
	}
	for name, c := range map[string]*Client{
		"unknown authority": client(t, good), "another authority": client(t, good, trusts(stranger)), "another host": client(t, other, trusts(ca)), "expired": client(t, expired, trusts(ca)),
	} {
		_, err := c.Send(t.Context(), Request{})
		if err == nil || notify.IsPermanent(err) || notify.ArrivalOf(err) != event.NotArrived || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%s: %v; want an error that tells no secret and is worth another try", name, err)
		}
	}
	if _, err := New(Config{TLS: &certs.Client{At: here, CAFile: filepath.Join(t.TempDir(), "none.pem")}}); err == nil {
		t.Error("authorities that are not there are no error")
	}
}

// What nobody listens for has not arrived, nor what goes to a host that there is not.
func TestWithoutAConnectionNothingArrived(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + ln.Addr().String()
	_ = ln.Close()
	for _, url := range []string{url, "http://nowhere.invalid"} {
		if _, err := client(t, url).Send(t.Context(), Request{Body: []byte("{}")}); notify.ArrivalOf(err) != event.NotArrived || notify.IsPermanent(err) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestCredentialsAndHeadersAreSent(t *testing.T) {
	got := make(chan *http.Request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	defer srv.Close()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret, err := conf.SecretFile(password)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, srv.URL, func(c *Config) {
		c.BasicAuth = &BasicAuth{Username: "kemi", Password: secret}
		c.Headers = map[string]conf.Secret{"Host": conf.NewSecret("chat.example"), "Idempotency-Key": conf.NewSecret("mine"), "content-type": conf.NewSecret("text/x-mine")}
	})
	for _, want := range []string{"one", "two"} {
		if _, err := c.Send(t.Context(), Request{Method: "PUT", ContentType: "text/plain", Headers: Keys(&event.Page{ID: "p1", DedupKey: "k1"})}); err != nil {
			t.Fatal(err)
		}
		r := <-got
		user, pass, _ := r.BasicAuth()
		if r.Method != "PUT" || r.Host != "chat.example" || r.Header.Get("Idempotency-Key") != "p1" || r.Header.Get("Content-Type") != "text/x-mine" || r.Header.Get("X-Kemi-Dedup-Key") != "k1" || user != "kemi" || pass != want {
			t.Errorf("got %s %s %v, %s:%s", r.Method, r.Host, r.Header, user, pass)
		}
		if err := os.WriteFile(password, []byte("two"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := secret.Reload(); err != nil { // A password that was changed is sent next.
			t.Fatal(err)
		}
	}
}

func TestSettingsThatCannotWorkAreFound(t *testing.T) {
	for yaml, want := range map[string]string{
		`{}`:                              "there is no url",
		`{url: "ftp://x/"}`:               "not one of a web server",
		`{url: "http://x/", timeout: 1h}`: "timeout is out of range",
		`{url: "http://x/", headers: {"a b": x}}`:                                     "no name of a header",
		`{url: "http://x/", headers: {a: "x\r\ny: z"}}`:                               "control character",
		`{url: "http://x/", bearer_token: x, basic_auth: {username: y, password: z}}`: "both given",
		`{url: "http://x/", tls: {ca_file: none.pem}}`:                                "none.pem",
	} {
		nodes, _ := conf.Parse("kemi.yaml", []byte(yaml))
		c := Default()
		problems := nodes[0].Into(&c)
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s: %v; want %q", yaml, problems, want)
		}
	}
	for yaml, want := range map[string]string{
		`{status: [301]}`:              "no status that a page can end with",
		`{equals: 0}`:                  "without its place",
		`{json: "a..b"}`:               "empty part",
		`{json: a, equals: [1]}`:       "single value",
		`{json: a, equals: 0}`:         "",
		`{json: a, permanent: [1, x]}`: "",
	} {
		nodes, _ := conf.Parse("kemi.yaml", []byte(yaml))
		var e Expect
		problems := nodes[0].Into(&e)
		if want == "" && len(problems) > 0 || want != "" && (len(problems) != 1 || !strings.Contains(problems[0].String(), want)) {
			t.Errorf("%s: %v; want %q", yaml, problems, want)
		}
	}
}

func FuzzExpect(f *testing.F) {
	f.Add([]byte(`{"result":{"code":0}}`), "result.code", "0")
	f.Add([]byte(`[[1.50]]`), "0.0", "1.50")
	f.Fuzz(func(t *testing.T, body []byte, path, equals string) {
		want := Literal(equals)
		e := &Expect{JSON: path, Equals: &want}
		if check := e.Check(); check != nil && check(body) == nil {
			if found, err := at(body, path); err != nil || found != equals {
				t.Errorf("%q at %q passes for %q", body, path, equals)
			}
		}
	})
}

// Pages of errors like to repeat the address, which is a secret.
func TestAnAnswerThatRepeatsTheAddressHidesIt(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		if r.Header.Get("Far") != "" { // A secret across the end of what is shown.
			fmt.Fprint(w, strings.Repeat("x", maxShown-30), " ")
		}
		fmt.Fprintf(w, "Cannot POST %s, token %s", html.EscapeString(r.URL.RequestURI()), r.Header.Get("Authorization"))
	}))
	defer s.Close()
	c := Default()
	c.URL, c.BearerToken = conf.NewSecret(s.URL+"/services/S3CR3T?k=a&b=c"), conf.NewSecret("t0ken")
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if far, err := client.Send(t.Context(), Request{Headers: map[string]string{"Far": "yes"}}); err == nil || strings.Contains(far, "S3C") || strings.Contains(far, "/serv") {
		t.Errorf("it says %q, %v", far, err)
	}
	answer, err := client.Send(t.Context(), Request{})
	for _, text := range []string{answer, fmt.Sprint(err)} {
		if strings.Contains(text, "S3CR3T") || strings.Contains(text, "t0ken") || !strings.Contains(text, "<secret>") {
			t.Errorf("it says %q", text)
		}
	}
}

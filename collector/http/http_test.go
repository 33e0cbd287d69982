package http

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/internal/conf"
)

func node(t *testing.T, text string) conf.Node {
	t.Helper()
	nodes, problems := conf.Parse("checks.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return nodes[0]
}

func newPoller(t *testing.T, credentials string) *Poller {
	t.Helper()
	s := poller.Setup{Credentials: map[string]conf.Node{}}
	if credentials != "" {
		s.Credentials["web"] = node(t, credentials)
	}
	p, problems := New(s)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

// check polls an address with settings as a file has them.
func (p *Poller) checkNow(t *testing.T, address, settings string) *event.Reading {
	t.Helper()
	spec, problems := p.Spec(node(t, settings))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	r := p.Poll(t.Context(), &event.Job{Target: "web", Check: "http", Kind: "http", Address: address, Spec: spec})
	if _, err := r.Encode(); err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t *testing.T, r *event.Reading, status event.Status, message string) {
	t.Helper()
	if r.Status != status || !strings.Contains(r.Message, message) {
		t.Errorf("got %s with %q, want %s with …%s…", r.Status, r.Message, status, message)
	}
}

// value gives a value of the reading; ok is false when it has none.
func value(r *event.Reading, name string) (v float64, ok bool) {
	for _, tb := range r.Tables {
		for _, c := range tb.Columns {
			if c.Name == name {
				return c.Gauges[0], true
			}
		}
	}
	return 0, false
}

func wantValue(t *testing.T, r *event.Reading, name string, want float64) {
	t.Helper()
	if v, ok := value(r, name); !ok || v != want {
		t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
	}
}

func service(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/base/health", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "all is well") })
	mux.HandleFunc("/code/{code}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.PathValue("code"), &n)
		w.WriteHeader(n)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		body := make([]byte, 100)
		n, _ := r.Body.Read(body)
		fmt.Fprintln(w, r.Method, r.Host, r.Header.Get("X-Team"), user, password, r.Header.Get("Authorization"), string(body[:n]), r.URL.RawQuery)
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/base/health", http.StatusFound) })
	mux.HandleFunc("/circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/circle", http.StatusFound) })
	mux.HandleFunc("/secrets", func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		fmt.Fprintf(w, "key=%s cookie=%s team=%s auth=%s agent=%s", h.Get("X-Api-Key"), h.Get("Cookie"), h.Get("X-Team"), h.Get("Authorization"), h.Get("User-Agent"))
	})
	mux.HandleFunc("/back", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/trickle", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "short")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 64<<10)
		for range 64 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestChecks(t *testing.T) {
	s := service(t)
	p := newPoller(t, "")
	for name, c := range map[string]struct {
		settings string
		status   event.Status
		message  string
	}{
		"as expected":           {"{path: /health, expect: {status: 200, contains: is well}}", event.StatusOK, ""},
		"a regular expression":  {`{path: /health, expect: {body: "^all .* well$"}}`, event.StatusOK, ""},
		"another body":          {"{path: /health, expect: {contains: broken}}", event.StatusError, `does not contain "broken"`},
		"no match":              {"{path: /health, expect: {body: ^well}}", event.StatusError, "does not match"},
		"one of several codes":  {"{path: ../code/204, expect: {status: [200, 204]}}", event.StatusOK, ""},
		"a class of codes":      {"{path: ../code/404, expect: {status: 4xx}}", event.StatusOK, ""},
		"another code":          {"{path: ../code/503}", event.StatusError, "answers 503 Service Unavailable, expected 2xx"},
		"not allowed":           {"{path: ../code/401}", event.StatusAuth, "answers 401"},
		"not allowed, expected": {"{path: ../code/403, expect: {status: 403}}", event.StatusOK, ""},
		"a redirect":            {"{path: ../moved, expect: {status: 302}}", event.StatusOK, ""},
		"a redirect followed":   {"{path: ../moved, follow_redirects: true, expect: {contains: well}}", event.StatusOK, ""},
		"a circle":              {"{path: ../circle, follow_redirects: true}", event.StatusError, "more than 10 redirects"},
		"no answer":             {"{path: ../hang, timeout: 50ms}", event.StatusTimeout, "no answer in time"},
		"no end":                {"{path: ../trickle, timeout: 50ms}", event.StatusTimeout, "no answer in time"},
		"cut":                   {"{path: ../cut}", event.StatusError, "closed before the answer was complete"},
		"too late":              {"{path: /health, expect: {max_latency: 1ns}}", event.StatusError, "expected at most 1ns"},
		"large":                 {"{path: ../large}", event.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, p.checkNow(t, s.URL+"/base", c.settings), c.status, c.message)
		})
	}
}

func TestValues(t *testing.T) {
	s := service(t)
	p := newPoller(t, "")
	r := p.checkNow(t, strings.TrimPrefix(s.URL, "http://"), "{path: /base/health, expect: {contains: nothing of this}}")
	want(t, r, event.StatusError, "does not contain")
	wantValue(t, r, "http_status_code", 200)
	wantValue(t, r, "http_response_bytes", 11)
	wantValue(t, r, "http_body_match", 0)
	for _, name := range []string{"http_duration_seconds", "http_connect_seconds", "http_first_byte_seconds"} {
		if v, ok := value(r, name); !ok || v <= 0 || v > 5 {
			t.Errorf("%s is %v, %v", name, v, ok)
		}
	}
	if _, ok := value(r, "http_cert_expiry_timestamp_seconds"); ok {
		t.Error("a service without TLS has a certificate")
	}
}

func TestTheRequestIsAsConfigured(t *testing.T) {
	s := service(t)
	p := newPoller(t, "{username: kemi, password: hush}")
	spec, problems := p.Spec(node(t, `{path: "/echo?a=1&b=2", method: POST, headers: {X-Team: net, Host: shop.example}, body: ping,
		expect: {body: "^POST shop.example net kemi h[a-z]+h Basic .* ping a=1&b=2"}}`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(spec), "hush") {
		t.Error("the settings hold the password")
	}
	j := &event.Job{Target: "web", Check: "http", Kind: "http", Address: s.URL, Spec: spec, Credential: "web"}
	want(t, p.Poll(t.Context(), j), event.StatusOK, "")
	j.Credential = "other"
	want(t, p.Poll(t.Context(), j), event.StatusError, `no HTTP credential "other"`)
}

// What is secret comes from the credential and goes to the target alone, not to where that sends the check.
func TestSecretHeadersComeFromTheCredentialAndGoToTheTargetAlone(t *testing.T) {
	elsewhere := service(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "key=%s cookie=%s team=%s auth=%s", r.Header.Get("X-Api-Key"), r.Header.Get("Cookie"), r.Header.Get("X-Team"), r.Header.Get("Authorization"))
	})
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/echo", http.StatusFound) })
	mux.HandleFunc("/there", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/secrets", http.StatusFound)
	})
	mux.HandleFunc("/back", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/back?to=http://"+r.Host+"/echo", http.StatusFound)
	})
	home := httptest.NewServer(mux)
	defer home.Close()
	file := filepath.Join(t.TempDir(), "cookie")
	if err := os.WriteFile(file, []byte("session=hush2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPoller(t, "{username: kemi, password: hush3, headers: {X-Api-Key: hush1, Cookie: {value_file: "+file+"}}}")
	for path, want := range map[string]string{
		"/echo":  "key=hush1 cookie=session=hush2 team=net auth=Basic",
		"/here":  "key=hush1 cookie=session=hush2 team=net auth=Basic",
		"/back":  "key=hush1 cookie=session=hush2 team=net auth=Basic",
		"/there": "key= cookie= team= auth= agent=kemi",
	} {
		spec, problems := p.Spec(node(t, fmt.Sprintf("{path: %s, headers: {X-Team: net}, follow_redirects: true, expect: {contains: %q}}", path, want)))
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		r := p.Poll(t.Context(), &event.Job{Target: "web", Check: "http", Kind: "http", Address: home.URL, Spec: spec, Credential: "web"})
		if r.Status != event.StatusOK {
			t.Errorf("%s: %s, %s", path, r.Status, r.Message)
		}
	}
	bare := newPoller(t, "{headers: {X-Api-Key: hush1}}") // Headers alone are a credential too.
	spec, _ := bare.Spec(node(t, "{path: /echo, expect: {contains: 'key=hush1 cookie= team= auth='}}"))
	want(t, bare.Poll(t.Context(), &event.Job{Target: "web", Check: "http", Kind: "http", Address: home.URL, Spec: spec, Credential: "web"}), event.StatusOK, "")
}

func TestRefusedUnreachableAndNames(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	p := newPoller(t, "")
	want(t, p.checkNow(t, address, "{}"), event.StatusRefused, "refused")
	want(t, p.checkNow(t, "http://kemi.invalid/", "{timeout: 5s}"), event.StatusUnreachable, "kemi.invalid")
	want(t, p.checkNow(t, "ftp://127.0.0.1/", "{}"), event.StatusError, "no http:// or https://")
}

func TestAServiceThatIsTakenForDeadIsProbedShortly(t *testing.T) {
	s := service(t)
	p := newPoller(t, "")
	spec, _ := p.Spec(node(t, "{path: /hang, timeout: 1m}"))
	r := p.Poll(poller.WithProbing(context.Background()), &event.Job{Target: "web", Check: "http", Address: s.URL, Spec: spec})
	want(t, r, event.StatusTimeout, "")
	if r.Duration > 30*time.Second { // Its own timeout would take a minute.
		t.Errorf("it took %s", r.Duration)
	}
}

func TestCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	expired := time.Now().Add(-time.Hour).Truncate(time.Second)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: expired.Add(-time.Hour), NotAfter: expired, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	p := newPoller(t, "")
	r := p.checkNow(t, s.URL, "{expect: {status: 404}}")
	want(t, r, event.StatusError, "the certificate is not accepted")
	wantValue(t, r, "http_cert_expiry_timestamp_seconds", float64(expired.Unix()))
	r = p.checkNow(t, s.URL, "{insecure_skip_verify: true, expect: {status: 404}}")
	want(t, r, event.StatusOK, "")
	wantValue(t, r, "http_cert_expiry_timestamp_seconds", float64(expired.Unix()))
	if v, ok := value(r, "http_tls_seconds"); !ok || v <= 0 {
		t.Errorf("http_tls_seconds is %v, %v", v, ok)
	}
}

func TestBadSettingsAreToldWithTheirPlace(t *testing.T) {
	p := newPoller(t, "")
	for settings, want := range map[string]string{
		"{pathh: /x}":                         `checks.yaml:1:2: unknown key "pathh": did you mean "path"?`,
		"{expect: {status: 99}}":              `checks.yaml:1:19: "99" is no HTTP status`,
		"{expect: {status: []}}":              "neither a code nor a list",
		"{expect: {body: '('}}":               "the regular expression cannot be read",
		"{expect: {body: a, contains: b}}":    "both body and contains",
		"{method: 'G T'}":                     "no HTTP method",
		"{path: 'http://x/y'}":                "no path",
		"{timeout: 0s}":                       "a timeout of 0s",
		"{timeout: 10}":                       `add a unit, like "10s"`,
		"{headers: {'a b': x}}":               "cannot be a header",
		"{headers: {Authorization: x}}":       "make it a credential",
		"{headers: {cookie: x}}":              "checks.yaml:1:20: cookie would travel on the bus",
		"{headers: {X-API-KEY: x}}":           "make it a credential: {http: {headers: {X-API-KEY: …}}}",
		"{headers: {Proxy-Authorization: x}}": "would travel on the bus",
		"{headers: {X-Auth-Token: x}}":        "would travel on the bus",
		"{headers: {PRIVATE-TOKEN: x}}":       "would travel on the bus",
		"{headers: {X-Client-Secret: x}}":     "would travel on the bus",
	} {
		_, problems := p.Spec(node(t, settings))
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s: got %v, want %s", settings, problems, want)
		}
	}
	for credential, want := range map[string]string{
		"{}":                                              "the credential is empty",
		"{username: a, bearer: b}":                        "both a user and a bearer token",
		"{username: a, passwort: not this}":               `did you mean "password"?`,
		"{headers: {'a b': not this}}":                    "cannot be a header",
		"{headers: {X-Key: \"not this\\n\"}}":             "the value of X-Key cannot be that of a header",
		"{headers: {X-Key: ''}}":                          "the header is empty",
		"{headers: {Authorization: not this}, bearer: b}": "both a bearer token and the header Authorization",
		"{headers: {X-Key: {file: not this}}}":            `unknown key "file"`,
	} {
		_, problems := New(poller.Setup{Credentials: map[string]conf.Node{"web": node(t, credential)}})
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) || strings.Contains(problems.Error(), "not this") {
			t.Errorf("%s: got %v, want %s", credential, problems, want)
		}
	}
}

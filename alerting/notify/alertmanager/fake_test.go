package alertmanager

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/internal/conf"
)

// call is one request as a fake got it, and what the fake understood.
type call struct {
	*http.Request
	body []byte

	key   string // The deduplication key.
	does  string // open, close, or say for what only writes a message.
	to    string // The address.
	text  string // Everything that people read.
	wrong []string
}

func (c *call) errorf(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// want complains when a request is not of this method and path.
func (c *call) want(method, path string) {
	if c.Method != method || c.URL.Path != path {
		c.errorf("%s %s, want %s %s", c.Method, c.URL.Path, method, path)
	}
}

func (c *call) header(name, value string) {
	if got := c.Header.Get(name); got != value {
		c.errorf("%s: %q, want %q", name, got, value)
	}
}

// schema reads the body strictly: a field that the API does not know is wrong.
func (c *call) schema(v any) {
	c.header("Content-Type", "application/json")
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		c.errorf("body: %v in %s", err, c.body)
	}
	if d.More() {
		c.errorf("more after the body")
	}
}

// must complains about a field that is empty, or longer than the API takes.
func (c *call) must(name, value string, most int) {
	if value == "" || len([]rune(value)) > most {
		c.errorf("%s has %d characters, want 1 to %d", name, len([]rune(value)), most)
	}
}

type answer struct {
	status  int
	body    string
	headers map[string]string
}

func jsonAnswer(status int, body string) answer {
	return answer{status, body, map[string]string{"Content-Type": "application/json"}}
}

// provider is a strict fake of one provider's API, and how a receiver is pointed at it. All secrets contain S3CRET.
type provider struct {
	kind, conf string
	// serve checks one request and answers it.
	serve func(c *call) answer
	// lies are answers of status 200 that are refusals: for good, and for now.
	lies, later []string
}

// server is a running fake.
type server struct {
	t     testing.TB
	url   string
	dir   string
	mu    sync.Mutex
	calls []*call
	// instead answers in place of the fake when it is not nil and returns true.
	instead func(w http.ResponseWriter, r *http.Request, body []byte) bool
	backend *httptest.Server
}

func (s *server) ServeHTTP(serve func(*call) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		c := &call{Request: r, body: body}
		s.calls = append(s.calls, c)
		if s.instead != nil {
			s.mu.Unlock()
			done := s.instead(w, r, body)
			s.mu.Lock()
			if done {
				return
			}
		}
		a := serve(c)
		for _, what := range c.wrong {
			s.t.Errorf("%s %s: %s", r.Method, r.URL.Path, what)
		}
		if len(c.wrong) > 0 {
			a = answer{status: http.StatusBadRequest, body: strings.Join(c.wrong, "; ")}
		}
		for name, value := range a.headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}
}

// told are the calls that were understood as a page, in order.
func (s *server) told() []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*call
	for _, c := range s.calls {
		if c.does != "" {
			all = append(all, c)
		}
	}
	return all
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// start runs a fake. Those whose address is fixed in Alertmanager's code are reached through a proxy, with TLS.
func (p provider) start(t testing.TB, useTLS bool) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	s.backend = httptest.NewUnstartedServer(s.ServeHTTP(p.serve))
	s.backend.Config.ErrorLog = log.New(io.Discard, "", 0)
	if useTLS || p.fixed() {
		s.backend.StartTLS()
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.backend.Certificate().Raw})
		if err := os.WriteFile(filepath.Join(s.dir, "ca.pem"), ca, 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		s.backend.Start()
	}
	t.Cleanup(s.backend.Close)
	s.url = s.backend.URL
	if p.fixed() {
		s.url = proxy(t, s.backend.Listener.Addr().String())
	}
	return s
}

func (p provider) fixed() bool { return strings.Contains(p.conf, "proxy_url") }

// proxy answers CONNECT, and connects to one address whatever it is asked for.
func proxy(t testing.TB, to string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "api.pushover.net:443" {
			t.Errorf("proxy: %s %s", r.Method, r.Host)
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			t.Errorf("proxy: %v", err)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("proxy: %v", err)
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// receiver makes a receiver of the kind that speaks to the server; more is further lines of its settings.
func (p provider) receiver(t testing.TB, s *server, env notify.Env, more string) *Receiver {
	t.Helper()
	n, err := p.made(t, s, env, more)
	if err != nil {
		t.Fatal(err)
	}
	return n.(*Receiver)
}

func (p provider) made(t testing.TB, s *server, env notify.Env, more string) (notify.Notifier, error) {
	t.Helper()
	text := strings.ReplaceAll(p.conf, "URL", s.url) + more
	nodes, problems := conf.Parse(filepath.Join(s.dir, "kemi.yaml"), []byte(text))
	if len(problems) > 0 {
		return nil, problems
	}
	if env.ExternalURL == "" {
		env.ExternalURL = "https://kemi.example.org"
	}
	n, problems := Kind(p.kind)("pager", nodes[0], env)
	return n, problems.Err()
}

func form(c *call) url.Values {
	c.header("Content-Type", "application/x-www-form-urlencoded")
	v, err := url.ParseQuery(string(c.body))
	if err != nil {
		c.errorf("form: %v", err)
	}
	return v
}

func TestMain(m *testing.M) {
	_ = os.Unsetenv("AWS_CA_BUNDLE") // It would choose another client for SNS, which the package refuses.
	os.Exit(m.Run())
}

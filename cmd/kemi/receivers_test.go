package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// troubled is a web server whose paths are receivers in trouble.
type troubled struct {
	mu     sync.Mutex
	bodies map[string][]string // By path, of what was taken.
	tries  map[string][]time.Time
	quit   chan struct{}
}

func (s *troubled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.tries[r.URL.Path] = append(s.tries[r.URL.Path], time.Now())
	n := len(s.tries[r.URL.Path])
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/seconds" && n == 1:
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case r.URL.Path == "/date" && n == 1:
		w.Header().Set("Retry-After", time.Now().Add(4*time.Second).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case r.URL.Path == "/hang":
		select {
		case <-s.quit:
		case <-r.Context().Done():
		}
		return
	case r.URL.Path == "/close":
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/no":
		_, _ = io.WriteString(w, `{"ok": false, "error": "no such channel"}`)
		return
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		return
	}
	s.mu.Lock()
	s.bodies[r.URL.Path] = append(s.bodies[r.URL.Path], string(body))
	s.mu.Unlock()
	_, _ = io.WriteString(w, `{"ok": true}`)
}

// took is what a path took.
func (s *troubled) took(path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.bodies[path]...)
}

// gap is how long after the first attempt the second came.
func (s *troubled) gap(path string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.tries[path]; len(all) > 1 {
		return all[1].Sub(all[0])
	}
	return 0
}

// A whole Kemi with a receiver of every kind of trouble: who can be told is, templates that fail cost their words and not
// the page, and the ledger says of each what is known.
func TestReceiversInTrouble(t *testing.T) {
	t.Parallel()
	s := &troubled{bodies: map[string][]string{}, tries: map[string][]time.Time{}, quit: make(chan struct{})}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(s.quit) })
	secure := httptest.NewUnstartedServer(s)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	gone := httptest.NewServer(s)
	gone.Close()
	dir := t.TempDir()
	program := filepath.Join(dir, "page")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\nprintf '%s' \"$KEMI_TEXT\" > "+dir+"/text; cat > "+dir+"/json\n"), 0o700))
	const bad = `'{{ if eq .Incident.Cause "core" }}{{ index .Incident.Alerts 99 }}{{ end }}'`
	want := map[string]struct { // By receiver.
		kind    string
		arrival event.Arrival
		stage   event.PageStage
	}{
		"seconds": {`{webhook: {url: "` + srv.URL + `/seconds"}}`, event.Arrived, event.PageSent},
		"date":    {`{webhook: {url: "` + srv.URL + `/date"}}`, event.Arrived, event.PageSent},
		"hang":    {`{webhook: {url: "` + srv.URL + `/hang", timeout: 1s}}`, event.ArrivalUnknown, event.PageRetrying},
		"close":   {`{webhook: {url: "` + srv.URL + `/close"}}`, event.ArrivalUnknown, event.PageRetrying},
		"cert":    {`{webhook: {url: "` + secure.URL + `/cert"}}`, event.NotArrived, event.PageRetrying},
		"gone":    {`{webhook: {url: "` + gone.URL + `/gone"}}`, event.NotArrived, event.PageRetrying},
		"moved":   {`{webhook: {url: "` + srv.URL + `/moved"}}`, event.NotArrived, event.PageFailed},
		"no":      {`{http: {url: "` + srv.URL + `/no", json: {text: "{{ .Plain }}"}, expect: {json: ok, equals: true}}}`, event.NotArrived, event.PageRetrying},
		"never":   {`{http: {url: "` + srv.URL + `/no", json: {text: "{{ .Plain }}"}, expect: {json: ok, equals: true, permanent: [false]}}}`, event.NotArrived, event.PageFailed},
		"json":    {`{http: {url: "` + srv.URL + `/json", json: {a: [1, {text: ` + bad + `}], b: "{{ .Title }}"}}}`, event.Arrived, event.PageSent},
		"body":    {`{http: {url: "` + srv.URL + `/body", content_type: application/json, body: '{"text": {{ if eq .Incident.Cause "core" }}{{ .Title }}{{ else }}1{{ end }}}'}}`, event.Arrived, event.PageSent},
		"program": {`{exec: {command: [` + program + `], template: {body: ` + bad + `}}}`, event.Arrived, event.PageSent},
	}
	var receivers, routes strings.Builder
	for name, w := range want {
		fmt.Fprintf(&receivers, "  %s: %s\n", name, w.kind)
		fmt.Fprintf(&routes, "    - {receiver: %s, continue: true}\n", name)
	}
	c := newCalledBy(t, `data: data
cmdb: [{file: {path: targets.yaml}}]
receivers:
  chat: {inbox: {}}
`+receivers.String()+`teams: {default: {receiver: chat}, network: {receiver: chat}}
route:
  receiver: chat
  group_wait: 0s
  routes:
`+routes.String()+`external_url: "http://kemi.example"
pings: {backup: {every: 1h, token: s3cret}}
alerting: {group_wait: 0s}
`, "core")
	c.fire("core")
	within(t, 60*time.Second, "the ledger says of each what is known", func() error {
		var pages []*event.Page
		p := &process{addr: strings.TrimPrefix(c.url, "http://")}
		if err := p.get("/api/kemi/v1/pages", &pages); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, p := range pages {
			w := want[p.Receiver]
			if seen[p.Receiver] = true; w.kind != "" && (p.Arrival != w.arrival || p.Stage != w.stage) {
				return fmt.Errorf("the page by %s is %s, %s: %s", p.Receiver, p.Stage, p.Arrival, p.Response)
			}
		}
		if len(seen) < len(want) {
			return fmt.Errorf("there are %d", len(seen))
		}
		return nil
	})
	for path, least := range map[string]time.Duration{"/seconds": 3 * time.Second, "/date": 3 * time.Second} {
		if gap := s.gap(path); gap < least || gap > least+15*time.Second {
			t.Errorf("%s was asked again after %s", path, gap)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "text"))
	must(t, err)
	input, err := os.ReadFile(filepath.Join(dir, "json"))
	must(t, err)
	var handed event.Page
	must(t, json.Unmarshal(input, &handed))
	if handed.Receiver != "program" || handed.Snapshot == nil || handed.Snapshot.Cause != "core" {
		t.Errorf("the program was handed %s", input)
	}
	for what, said := range map[string]string{"program": string(text), "json": strings.Join(s.took("/json"), ""), "body": strings.Join(s.took("/body"), "")} {
		if !strings.Contains(said, "core") || !strings.Contains(said, "template of the receiver "+what+" failed") {
			t.Errorf("%s was told %q", what, said)
		}
		if what != "program" && !json.Valid([]byte(said)) {
			t.Errorf("%s was sent what is no JSON: %q", what, said)
		}
	}
	if list := c.say("pages", "list", "--receiver", "program"); !strings.Contains(list, "template") {
		t.Errorf("the ledger does not say that the template failed:\n%s", list)
	}
	c.links(s.took("/seconds")[0])
	c.pings()
}

// links tries the link of a page: looking does nothing, forged it is refused, its button works once.
func (c *called) links(webhook string) {
	c.t.Helper()
	var sent struct {
		Kemi struct{ Links []struct{ Kind, URL string } } `json:"kemi"`
	}
	must(c.t, json.Unmarshal([]byte(webhook), &sent))
	var ack string
	for _, link := range sent.Kemi.Links {
		if link.Kind == "acknowledge" {
			ack = link.URL
		}
	}
	u, err := url.Parse(ack)
	if err != nil || ack == "" {
		c.t.Errorf("no link to acknowledge in %s", webhook)
		return
	}
	there := c.url + u.RequestURI()
	do := func(method, at string) (int, string) {
		req, err := http.NewRequestWithContext(c.t.Context(), method, at, strings.NewReader("name=jo"))
		must(c.t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		must(c.t, err)
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	forged := there[:len(there)-3] + map[bool]string{true: "BBB", false: "AAA"}[strings.HasSuffix(there, "AAA")]
	acked := func(i *event.Incident) bool { return i.Ack != nil }
	if code, _ := do(http.MethodGet, there); code != http.StatusOK {
		c.t.Errorf("looking at the link: %d", code)
	}
	if code, said := do(http.MethodPost, forged); code < 400 || strings.Contains(said, "core") {
		c.t.Errorf("a forged link: %d %s", code, said)
	}
	if i := c.incident("core", func(*event.Incident) bool { return true }); acked(i) {
		c.t.Error("looking, or a forged link, acknowledged it")
	}
	if code, said := do(http.MethodPost, there); code != http.StatusOK {
		c.t.Errorf("the button: %d %s", code, said)
	}
	first := c.incident("core", acked)
	if code, _ := do(http.MethodPost, there); code >= 500 {
		c.t.Errorf("the button again: %d", code)
	}
	if i := c.incident("core", acked); !i.Ack.At.Equal(first.Ack.At) || len(i.Acts) != len(first.Acts) {
		c.t.Errorf("the button worked twice: %+v", i.Acts)
	}
}

// pings tries a ping that has a token of its own.
func (c *called) pings() {
	c.t.Helper()
	for _, p := range []struct {
		path, bearer string
		want         int
	}{
		{"/ping/backup", "", http.StatusForbidden},
		{"/ping/backup?token=wrong", "", http.StatusForbidden},
		{"/ping/backup", "wrong", http.StatusForbidden},
		{"/ping/backup?token=s3cret", "", http.StatusOK},
		{"/ping/backup", "s3cret", http.StatusOK},
		{"/ping/backups?token=s3cret", "", http.StatusNotFound},
	} {
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+p.path, nil)
		must(c.t, err)
		if p.bearer != "" {
			req.Header.Set("Authorization", "Bearer "+p.bearer)
		}
		resp, err := http.DefaultClient.Do(req)
		must(c.t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != p.want {
			c.t.Errorf("%s as %q: %d, want %d", p.path, p.bearer, resp.StatusCode, p.want)
		}
	}
}

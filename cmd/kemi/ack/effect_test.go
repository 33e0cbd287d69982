package ack_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/web"
)

// Nobody is told that they have it before alerting knows it.
func TestYouHaveItIsSaidWhenItIsTrue(t *testing.T) {
	t.Parallel()
	p := pickUp(t)
	address := p.desk.URL(page("page1", "inc1", "jo"))
	code, body := p.do("POST", address, url.Values{})
	if code != http.StatusAccepted || !strings.Contains(body, "Stored, not taken in yet") || strings.Contains(body, "ou have it") || strings.Contains(body, "<form") {
		t.Fatalf("while alerting stands still: %d\n%s", code, body)
	}
	if code, body = p.do("GET", address, nil); code != 200 || !strings.Contains(body, "Stored, not taken in yet") {
		t.Fatalf("looked at again: %d\n%s", code, body)
	}
	p.alerting()
	p.until("alerting has taken it in", func() bool {
		_, body = p.do("GET", address, nil)
		return strings.Contains(body, "You have it already") && strings.Contains(body, ", until ")
	})
	if n := len(p.said()); n != 1 {
		t.Errorf("%d commands", n)
	}
}

// What was over, taken back or somebody else's by the time it was taken in is said as it is.
func TestWhatCameOfTheButtonIsSaid(t *testing.T) {
	t.Parallel()
	act := func(c *event.Command) []event.Act { return []event.Act{{Kind: c.Kind, By: c.By, At: c.At}} }
	for want, s := range map[string]struct {
		code int
		then func(c *event.Command, i *event.Incident)
	}{
		"It is over</h1>": {http.StatusGone, func(c *event.Command, i *event.Incident) {
			i.State, i.ResolvedAt = event.IncidentResolved, c.At
		}},
		"Acknowledged by jo just before": {http.StatusOK, func(c *event.Command, i *event.Incident) {
			i.State, i.ResolvedAt, i.Acts = event.IncidentResolved, c.At, act(c)
		}},
		"Nobody has it": {http.StatusConflict, func(c *event.Command, i *event.Incident) { i.Acts = act(c) }},
		"sun has it</h1>": {http.StatusConflict, func(c *event.Command, i *event.Incident) {
			i.Acts, i.Ack = act(c), &event.Ack{By: "sun", At: c.At, Until: c.At.Add(time.Hour)}
		}},
		"You have it until": {http.StatusOK, func(c *event.Command, i *event.Incident) {
			i.Acts, i.Ack = act(c), &event.Ack{By: "jo", At: c.At, Until: c.At.Add(time.Hour)}
		}},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			p := pickUp(t)
			var code int
			var body string
			var thumb sync.WaitGroup
			thumb.Go(func() { code, body = p.do("POST", p.desk.URL(page("page1", "inc1", "jo")), url.Values{}) })
			p.until("it is stored", func() bool { return len(p.said()) == 1 })
			i := open(2)
			s.then(p.said()[0], i)
			must(t, p.bus.Publish(t.Context(), i))
			thumb.Wait()
			if code != s.code || !strings.Contains(body, want) || strings.Contains(body, "<form") {
				t.Errorf("%d, want %d %q\n%s", code, s.code, want, body)
			}
		})
	}
}

// A page of another origin cannot press the button in somebody's browser, even when it knows the link.
func TestAnotherOriginAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	p := pickUp(t)
	p.alerting()
	mux := http.NewServeMux()
	p.desk.Register(mux)
	guard, err := web.NewGuard(nil, "https://kemi.example.org", []string{"/ack/"}, mux)
	must(t, err)
	srv := httptest.NewServer(guard)
	t.Cleanup(srv.Close)
	post := func(header ...string) int {
		address := srv.URL + strings.TrimPrefix(p.desk.URL(page("page1", "inc1", "jo")), p.srv.URL)
		req, err := http.NewRequest("POST", address, nil)
		must(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		if code := post(header...); code != http.StatusForbidden {
			t.Errorf("%s: %d", header, code)
		}
	}
	if all := p.said(); len(all) != 0 {
		t.Fatalf("said %+v", all[0])
	}
	if code := post("Sec-Fetch-Site", "same-origin"); code != http.StatusOK {
		t.Errorf("its own page: %d", code)
	}
}

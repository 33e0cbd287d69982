package ack_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/link"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/ack"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
)

// phone is a desk with its pages, on a bus with an incident inc1 that is open and one, old, that is over.
type phone struct {
	*testing.T
	bus   *bus.Bus
	model *view.Model
	key   link.Key
	desk  *ack.Desk
	srv   *httptest.Server
	gone  bool // The bus is: who follows it says so.
}

func pickUp(t *testing.T) *phone {
	t.Helper()
	b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	must(t, b.Open(t.Context()))
	key, err := ack.ReadKey(filepath.Join(t.TempDir(), "link.key"), true)
	must(t, err)
	now := time.Now().UTC()
	must(t, b.Publish(t.Context(),
		open(1),
		&event.Incident{ID: "over", Domain: "default", State: event.IncidentResolved, Title: "disk full", OpenedAt: now, ResolvedAt: now, Updated: now, Revision: 1, Told: []string{"x"}},
	))
	p := &phone{T: t, bus: b, model: view.New(b), key: key}
	p.follow(p.model.Run)
	<-p.model.Ready()
	p.desk, p.srv = p.process()
	return p
}

// process is another process that serves the same links.
func (p *phone) process() (*ack.Desk, *httptest.Server) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	desk := ack.New(p.bus, p.model, srv.URL)
	desk.SetKey(p.key)
	desk.Register(mux)
	p.follow(desk.Run)
	p.Cleanup(srv.Close)
	p.until("the desk is ready", func() bool {
		code, _ := p.do("GET", desk.URL(page("warm-up", "inc1", "jo")), nil)
		return code != http.StatusServiceUnavailable
	})
	return desk, srv
}

func (p *phone) follow(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	p.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !p.gone {
			p.Error(err)
		}
	})
}

// alerting takes acknowledgements of inc1 in, as the room does.
func (p *phone) alerting() {
	rev := 1
	p.follow(func(ctx context.Context) error {
		return bus.Follow(ctx, p.bus, bus.From{Time: time.Now().Add(-time.Hour)}, func(m bus.Message[event.Command]) error {
			c := m.Event
			if c == nil || c.Subject != "inc1" {
				return nil
			}
			rev++
			i := open(rev)
			i.Ack = &event.Ack{By: c.By, At: c.At, Until: c.At.Add(4 * time.Hour), Comment: c.Comment}
			i.Acts = []event.Act{{Kind: c.Kind, By: c.By, At: c.At, Text: c.Comment}}
			return p.bus.Publish(ctx, i)
		}, func() {})
	})
}

// open is the incident that is open.
func open(revision int) *event.Incident {
	now := time.Now().UTC()
	return &event.Incident{ID: "inc1", Domain: "default", State: event.IncidentOpen, Title: "core-1 <does> not answer", Cause: "core-1", OpenedAt: now, Updated: now, Revision: revision, SuppressedTotal: 7}
}

func (p *phone) until(what string, ok func() bool) {
	p.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			p.Fatal("waited too long until " + what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func page(id, incident, person string) *event.Page {
	return &event.Page{ID: id, Incident: incident, Receiver: "pager", Person: person, Kind: event.PageFiring, Created: time.Now()}
}

func (p *phone) do(method, address string, form url.Values) (int, string) {
	p.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	must(p.T, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	must(p.T, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(p.T, err)
	return resp.StatusCode, string(body)
}

// said are the commands on the bus.
func (p *phone) said() (all []*event.Command) {
	p.Helper()
	err := p.bus.Read(p.Context(), bus.Span{Topic: "commands.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
		for _, raw := range batch {
			e, err := raw.Event()
			if err != nil {
				return err
			}
			all = append(all, e.(*event.Command))
		}
		return nil
	})
	must(p.T, err)
	return all
}

func TestLookingAcknowledgesNothingAndTheButtonDoes(t *testing.T) {
	p := pickUp(t)
	address := p.desk.URL(page("page1", "inc1", "jo"))
	for range 3 { // A mail scanner, a preview in a chat, a person.
		for _, method := range []string{"GET", "HEAD"} {
			if code, body := p.do(method, address, nil); code != 200 || method == "GET" && (!strings.Contains(body, "core-1 &lt;does&gt; not answer") || !strings.Contains(body, "You are <strong>jo</strong>") || !strings.Contains(body, `<form method="post">`)) {
				t.Fatalf("%s: %d\n%s", method, code, body)
			}
		}
	}
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PROPFIND"} {
		if code, _ := p.do(method, address, nil); code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, code)
		}
	}
	if all := p.said(); len(all) != 0 {
		t.Fatalf("looking said %+v", all[0])
	}
	p.alerting()
	code, body := p.do("POST", address, url.Values{"comment": {"on my way\x1b[2J"}, "name": {"mallory"}})
	if code != 200 || !strings.Contains(body, "You have it until") || strings.Contains(body, "<form") {
		t.Fatalf("%d\n%s", code, body)
	}
	all := p.said()
	if len(all) != 1 || all[0].Kind != event.Acknowledge || all[0].Subject != "inc1" || all[0].By != "jo" || all[0].Comment != "on my way [2J" || all[0].Args["page"] != "page1" {
		t.Fatalf("said %+v", all)
	}
}

func TestALinkWorksOnceInWhateverProcess(t *testing.T) {
	p := pickUp(t)
	p.alerting()
	other, _ := p.process()
	pg := page("page1", "inc1", "jo")
	// Pressed by many thumbs at once.
	var thumbs sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		thumbs.Go(func() { codes[i], _ = p.do("POST", p.desk.URL(pg), url.Values{}) })
	}
	thumbs.Wait()
	took := 0
	for _, code := range codes {
		if code == 200 {
			took++
		} else if code != http.StatusConflict {
			t.Errorf("answered %d", code)
		}
	}
	if took != 1 || len(p.said()) != 1 {
		t.Fatalf("it worked %d times: %v", took, codes)
	}
	var body string
	p.until("the other process knows", func() bool {
		_, body = p.do("GET", other.URL(pg), nil)
		return strings.Contains(body, "You have it already")
	})
	if code, again := p.do("POST", other.URL(pg), url.Values{}); code != http.StatusConflict || !strings.Contains(again, "You have it already") || strings.Contains(again, "<form") {
		t.Errorf("used twice: %d\n%s", code, again)
	}
	if n := len(p.said()); n != 1 {
		t.Errorf("%d commands", n)
	}
}

func TestWhoHasItAlreadyIsSaid(t *testing.T) {
	p := pickUp(t)
	now := time.Now().UTC()
	must(t, p.bus.Publish(t.Context(), &event.Incident{
		ID: "inc1", Domain: "default", State: event.IncidentOpen, Title: "core-1", OpenedAt: now, Updated: now, Revision: 2, Ack: &event.Ack{By: "sun", At: now, Until: now.Add(time.Hour)},
	}))
	for person, want := range map[string]string{"jo": "sun has it already", "sun": "You have it already"} {
		address := p.desk.URL(page("page-"+person, "inc1", person))
		p.until("the model knows", func() bool { _, body := p.do("GET", address, nil); return strings.Contains(body, want) })
		if code, body := p.do("POST", address, url.Values{}); code != http.StatusConflict || !strings.Contains(body, want) {
			t.Errorf("%d\n%s", code, body)
		}
	}
	if all := p.said(); len(all) != 0 {
		t.Errorf("said %+v", all[0])
	}
}

func TestWhatCannotBeAcknowledgedIsSaidInWords(t *testing.T) {
	p := pickUp(t)
	expired := page("page1", "inc1", "jo")
	expired.Created = time.Now().Add(-link.Life - time.Minute)
	forged := p.desk.URL(page("page1", "inc1", "jo"))
	forged = forged[:len(forged)-3] + "AAA"
	for address, want := range map[string]struct {
		code int
		text string
	}{
		p.desk.URL(expired):                             {http.StatusGone, "This link has expired"},
		p.desk.URL(page("p", "over", "jo")):             {http.StatusGone, "It is over"},
		p.desk.URL(page("p", "nobody", "jo")):           {http.StatusGone, "Nothing to acknowledge"},
		p.desk.URL(page("p", "inc", "jo")):              {http.StatusGone, "Nothing to acknowledge"}, // Of another, whose id begins with it.
		forged:                                          {http.StatusForbidden, "This link is not valid"},
		p.srv.URL + "/ack/" + strings.Repeat("A", 9000): {http.StatusForbidden, "This link is not valid"},
	} {
		for _, method := range []string{"GET", "POST"} {
			if code, body := p.do(method, address, url.Values{"name": {"jo"}}); code != want.code || !strings.Contains(body, want.text) || strings.Contains(body, "<form") {
				t.Errorf("%s %.80s: %d, want %d\n%s", method, address, code, want.code, body)
			}
		}
	}
	for _, address := range []string{forged, p.desk.URL(expired)} {
		for _, method := range []string{"GET", "POST"} {
			if _, body := p.do(method, address, nil); strings.Contains(body, "core-1") || strings.Contains(body, "jo") {
				t.Errorf("a link that does not hold tells what it was about:\n%s", body)
			}
		}
	}
	if all := p.said(); len(all) != 0 {
		t.Errorf("said %+v", all[0])
	}
}

// Where many read a page whoever presses says who they are.
func TestAPageToManyAsksForAName(t *testing.T) {
	p := pickUp(t)
	address := p.desk.URL(page("page1", "inc1", ""))
	if _, body := p.do("GET", address, nil); !strings.Contains(body, `name="name"`) {
		t.Errorf("asks for no name:\n%s", body)
	}
	for _, name := range []string{"", " \t\n", strings.Repeat("x", 10_000)} {
		if code, body := p.do("POST", address, url.Values{"name": {name}}); code != http.StatusBadRequest || !strings.Contains(body, "Say who you are") {
			t.Errorf("%.10q: %d\n%s", name, code, body)
		}
	}
	p.alerting()
	code, body := p.do("POST", address, url.Values{"name": {" Jo \u202eKim\x00"}})
	if code != 200 || len(p.said()) != 1 || p.said()[0].By != "Jo  Kim (as typed)" || !strings.Contains(body, "Acknowledged by Jo  Kim (as typed)") {
		t.Errorf("%d, said %+v\n%s", code, p.said(), body)
	}
	if _, body := p.do("GET", p.desk.URL(page("page2", "inc1", "Jo  Kim")), nil); !strings.Contains(body, "Jo  Kim (as typed) has it already") {
		t.Errorf("a typed name is not whoever is called so:\n%s", body)
	}
}

func TestWhatCannotBeStoredIsNotTakenForDone(t *testing.T) {
	p := pickUp(t)
	address := p.desk.URL(page("page1", "inc1", "jo"))
	p.gone = true
	must(t, p.bus.Close())
	code, body := p.do("POST", address, url.Values{})
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "nobody has it yet") || !strings.Contains(body, "<form") {
		t.Errorf("%d\n%s", code, body)
	}
	if code, body := p.do("POST", address, url.Values{}); code != http.StatusServiceUnavailable {
		t.Errorf("the second time: %d\n%s", code, body)
	}
}

func TestTheKeyIsMadeOnceAndForThisUserAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "link.key")
	if _, err := ack.ReadKey(file, false); err == nil || !strings.Contains(err.Error(), "head -c 32 /dev/urandom") {
		t.Errorf("a missing key: %v", err)
	}
	first, err := ack.ReadKey(file, true)
	must(t, err)
	info, err := os.Stat(file)
	must(t, err)
	second, err := ack.ReadKey(file, true)
	must(t, err)
	l := link.Link{Incident: "i", Expires: time.Now().Add(time.Hour)}
	if info.Mode().Perm() != 0o600 || first.Sign(l) != second.Sign(l) {
		t.Errorf("mode %s, the same key: %v", info.Mode(), first.Sign(l) == second.Sign(l))
	}
	for text, want := range map[string]string{"short\n": "no base64", "c2hvcnQ=\n": "needs 32"} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if _, err := ack.ReadKey(file, true); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWithoutAKeyThereAreNoLinks(t *testing.T) {
	d := ack.New(nil, nil, "https://kemi.example.org/")
	if got := d.URL(page("p", "inc1", "jo")); got != "" {
		t.Errorf("a link: %s", got)
	}
}

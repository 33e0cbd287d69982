package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/internal/simulate"
)

// thinks is how long whoever is called takes to press the button.
const thinks = 2 * time.Second

// phones takes the webhooks that reach people, as a gateway to their phones would.
type phones struct {
	net.Listener
	mu   sync.Mutex
	rung []ring
}

// ring is one webhook, as far as the demo shows it.
type ring struct {
	Kemi struct {
		Kind         event.PageKind
		Person       string
		Title        string
		Facts, Links []struct{ Name, Value, Kind, URL string }
	}
}

func newPhones() (*phones, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &phones{Listener: ln}, nil
}

// run takes calls until ctx ends.
func (p *phones) run(ctx context.Context) error {
	srv := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // What is under way is of no interest any more.
	defer stop()
	if err := srv.Serve(p.Listener); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (p *phones) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var one ring
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&one); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rung = append(p.rung, one)
}

// since lists the calls from the nth on.
func (p *phones) since(n int) []ring {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.rung[min(n, len(p.rung)):])
}

// link is where a call leads, by the kind of link.
func (r *ring) link(kind string) string {
	for _, l := range r.Kemi.Links {
		if l.Kind == kind {
			return l.URL
		}
	}
	return ""
}

// people looks at the phones: the first call is shown whole, and the secondary is the one who answers.
func (d *demo) people(ctx context.Context, now time.Time) error {
	for _, r := range d.phones.since(d.rung) {
		d.rung++
		if d.rung == 1 {
			d.say("         %s's phone shows:", r.Kemi.Person)
			d.say("           | [%s] %s", strings.ToUpper(string(r.Kemi.Kind)), r.Kemi.Title)
			for _, f := range r.Kemi.Facts {
				d.say("           | %s: %s", f.Name, strings.ReplaceAll(f.Value, "\n", "\n           |   "))
			}
			for _, l := range r.Kemi.Links {
				d.say("           | %s: %s", l.Name, l.URL)
			}
			d.say("         %s sleeps.", r.Kemi.Person)
		}
		if address := r.link("acknowledge"); r.Kemi.Person == secondary && r.Kemi.Kind == event.PageFiring && address != "" {
			d.press, d.pressAt = address, now.Add(thinks)
		}
	}
	if d.press == "" || now.Before(d.pressAt) {
		return nil
	}
	address := d.press
	d.press = ""
	said, err := press(ctx, address)
	if err != nil {
		return fmt.Errorf("acknowledge from the phone: %w", err)
	}
	d.acknowledged = said
	d.say("%5.1f s  %s presses \"I have it\" on the phone: %s", time.Since(d.began).Seconds(), secondary, said)
	return nil
}

var heading = regexp.MustCompile(`<h1>([^<]*)</h1>`)

// press presses the button of a link and returns what is said then.
func press(ctx context.Context, address string) (string, error) {
	body, err := post(ctx, address, "application/x-www-form-urlencoded", []byte(url.Values{"comment": {"on my way"}}.Encode()))
	if err != nil {
		return "", err
	}
	m := heading.FindSubmatch(body)
	if m == nil {
		return "", fmt.Errorf("no heading in %.200q", body)
	}
	return string(m[1]), nil
}

func post(ctx context.Context, address, kind string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %.500s", resp.Status, said)
	}
	return said, err
}

// silence has nobody called for a target.
func (d *demo) silence(ctx context.Context, target string) error {
	s := api.NewSilence{Match: []string{fmt.Sprintf("target=%q", target)}, For: "10m"}
	s.By, s.Comment = "lee", "new disks"
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = post(ctx, "http://"+d.addr+api.Prefix+"/silences", "application/json", body)
	return err
}

// spare is a VM that nothing needs and that is not reached through the victim; empty when there is none.
func spare(devices []simulate.Device) string {
	needs, needed := map[string][]string{}, map[string]bool{}
	for _, d := range devices {
		needs[d.ID] = d.Needs
		for _, id := range d.Needs {
			needed[id] = true
		}
	}
	var behind func(id string) bool
	behind = func(id string) bool {
		return id == victim || slices.ContainsFunc(needs[id], behind)
	}
	for _, d := range devices {
		if d.Class == simulate.VM && !needed[d.ID] && !behind(d.ID) {
			return d.ID
		}
	}
	return ""
}

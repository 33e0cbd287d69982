package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/cmd/kemi/api"
)

const hookKey = "a key of thirty-two random bytes"

// posted is what a webhook got.
type posted struct{ id, again, body string }

// hooked is the webhook of a team: it takes only what is signed, and answers as it is told to.
type hooked struct {
	mu     sync.Mutex
	got    []posted
	answer func(d posted) int
}

func (h *hooked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // What is cut short is not signed.
	mac := hmac.New(sha256.New, []byte(hookKey))
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		http.Error(w, "not signed", http.StatusTeapot)
		return
	}
	d := posted{r.Header.Get("webhook-id"), r.Header.Get("kemi-again"), string(body)}
	h.mu.Lock()
	h.got = append(h.got, d)
	answer := h.answer
	h.mu.Unlock()
	if answer != nil {
		w.WriteHeader(answer(d))
	}
}

func (h *hooked) set(answer func(posted) int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// about are the deliveries that are about a target.
func (h *hooked) about(target string) (all []posted) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.got {
		if strings.Contains(d.body, `"subject":"`+target+`"`) {
			all = append(all, d)
		}
	}
	return all
}

// TestWebhooksOfARunningKemi subscribes a webhook to the targets of a real process: it is killed while an event is being
// delivered, and delivers it again; what the webhook refuses is a dead letter that is retried; what was delivered is replayed.
func TestWebhooksOfARunningKemi(t *testing.T) {
	hook := &hooked{}
	srv := httptest.NewServer(hook)
	t.Cleanup(srv.Close)
	addr := freeAddr(t)
	config := filepath.Join(files(t, map[string]string{
		"kemi.yaml": fmt.Sprintf("listen: %s\nsubscriptions: {audit: {team: network, topics: [targets, incidents], url: '%s/', secret_file: audit.key}}\n", addr, srv.URL),
		"audit.key": "whsec_" + base64.StdEncoding.EncodeToString([]byte(hookKey)) + "\n", "targets/a.yaml": "targets: []\n",
	}), "kemi.yaml")
	targets := filepath.Join(filepath.Dir(config), "targets", "a.yaml")
	write := func(ids ...string) {
		text := "classes: {web: {checks: [{kind: http, every: 1h, path: /}]}}\ntargets:\n"
		for _, id := range ids {
			team := "network"
			if strings.HasPrefix(id, "db") {
				team = "db"
			}
			text += fmt.Sprintf("  - {id: %s, class: web, address: \"http://127.0.0.1:1\", team: %s}\n", id, team)
		}
		must(t, os.WriteFile(targets, []byte(text), 0o600))
	}
	cli := func(args ...string) string {
		t.Helper()
		cmd := command(t.Context(), append(args, "--server", "http://"+addr)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kemi %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	p := start(t, config, addr)
	owns := func() error { // Who has each partition; what comes before somebody has it is not the subscription's.
		var topic api.Topic
		if err := p.get(api.Prefix+"/topics/targets.v1", &topic); err != nil {
			return err
		}
		for _, g := range topic.Groups {
			if g.Name == "subscription-audit" && len(g.Parts) == topic.Partitions {
				return nil
			}
		}
		return fmt.Errorf("groups %+v", topic.Groups)
	}
	within(t, 20*time.Second, "the subscription begins", owns)

	// Killed after the webhook got it, and before it answered.
	here, held := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(here) })
	hook.set(func(posted) int { first(); <-held; return http.StatusOK })
	write("a")
	within(t, 30*time.Second, "the first delivery", func() error {
		select {
		case <-here:
			return nil
		default:
			return errors.New("nothing came")
		}
	})
	p.kill()
	hook.set(nil)
	close(held)
	p.start()
	within(t, 30*time.Second, "it is delivered again", func() error {
		if got := hook.about("a"); len(got) < 2 {
			return fmt.Errorf("delivered %v", got)
		}
		return nil
	})
	if got := hook.about("a"); got[0] != got[1] || got[0].id == "" {
		t.Errorf("delivered %v", got)
	}

	// What it refuses, and what is another team's.
	hook.set(func(posted) int { return http.StatusBadRequest })
	write("a", "b", "db-1")
	var letters api.Letters
	within(t, 20*time.Second, "a dead letter", func() error {
		if err := json.Unmarshal([]byte(cli("dead", "list", "--group", "subscription-audit", "-o", "json")), &letters); err != nil || letters.Total != 1 {
			return fmt.Errorf("%d letters, %v", letters.Total, err)
		}
		return nil
	})
	if l := letters.Letters[0]; l.Key != "b" || !strings.Contains(l.Reason, "400 Bad Request") || strings.Contains(l.Reason, srv.URL) {
		t.Errorf("the letter %+v", l)
	}
	hook.set(nil)
	cli("dead", "retry", fmt.Sprint(letters.Letters[0].ID), "--comment", "mended")
	within(t, 20*time.Second, "the letter is delivered", func() error {
		if got := hook.about("b"); len(got) != 2 || got[1].again != "retry" || got[1].id != got[0].id {
			return fmt.Errorf("delivered %v", got)
		}
		return nil
	})

	before := len(hook.about("a"))
	if said := cli("replay", "targets.v1", "--from", "beginning", "--webhook", "audit"); !strings.Contains(said, "wait to be delivered again to audit") {
		t.Errorf("said %s", said)
	}
	within(t, 20*time.Second, "the replay", func() error {
		if got := hook.about("a"); len(got) != before+1 || got[before].again != "replay" || got[before].id != got[0].id || got[before].body != got[0].body {
			return fmt.Errorf("delivered %v", got)
		}
		return nil
	})
	if got := hook.about("db-1"); len(got) > 0 {
		t.Errorf("another team's was delivered: %v", got)
	}

	out, err := command(t.Context(), "subscriptions", "test", "audit", "-c", config).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "audit took it: 200 OK") {
		t.Errorf("%v %s", err, out)
	}
	if got := hook.about("audit"); len(got) != 1 || !strings.Contains(got[0].body, "dev.kemi.test.v1") {
		t.Errorf("tried with %v", got)
	}
	resp, err := http.Get("http://" + addr + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	must(t, err)
	for _, want := range []string{
		`kemi_subscription_deliveries_total{outcome="delivered",subscription="audit",topic="targets.v1"} `,
		`kemi_subscription_deliveries_total{outcome="refused",subscription="audit",topic="targets.v1"} 1`,
		`kemi_subscription_oldest_undelivered_seconds{subscription="audit"} 0`,
	} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

// behaviour is a way in which a provider misbehaves, and what a page is to make of it.
type behaviour struct {
	name  string
	do    func(w http.ResponseWriter, r *http.Request, body []byte)
	again bool          // Trying again can help.
	in    time.Duration // After so long.
	says  string        // What the error says.
	maybe bool          // It may have arrived.
}

func hang(w http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() }

func cutOff(w http.ResponseWriter, _ *http.Request, _ []byte) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func status(code int, body string, headers ...string) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, sent []byte) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		// Many providers repeat what was wrong with the request.
		_, _ = io.WriteString(w, body+" "+r.URL.String()+" "+r.Header.Get("Authorization")+r.Header.Get("X-Auth-Token")+" "+string(sent))
	}
}

func behaviours(elsewhere string) []behaviour {
	return []behaviour{
		{name: "429 with Retry-After", do: status(429, "slow down", "Retry-After", "17"), again: true, in: 17 * time.Second, says: "429"},
		{name: "503 until a date", do: func(w http.ResponseWriter, r *http.Request, b []byte) {
			status(503, "", "Retry-After", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))(w, r, b)
		}, again: true, in: 2 * time.Hour, says: "503"},
		{name: "500", do: status(500, "oops"), again: true, says: "500", maybe: true},
		{name: "301", do: status(301, "", "Location", elsewhere), says: "redirects are not followed"},
		{name: "308", do: status(308, "", "Location", elsewhere), says: "redirects are not followed"},
		{name: "400", do: status(400, "bad request"), says: "400"},
		{name: "401", do: status(401, "who are you"), says: "401"},
		{name: "hangs", do: hang, again: true, says: "no answer within", maybe: true},
		{name: "hangs in its answer", do: func(w http.ResponseWriter, r *http.Request, b []byte) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			hang(w, r, b)
		}, again: true, says: "no answer within", maybe: true},
		{name: "closes", do: cutOff, again: true, maybe: true},
		{name: "answers without end", do: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			for range 3 * maxBody / 1024 {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}, again: true, says: "larger than 1 MiB", maybe: true},
	}
}

func TestProvidersThatMisbehave(t *testing.T) {
	var strayed atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(func() {
		other.Close()
		if strayed.Load() > 0 {
			t.Errorf("%d requests followed a redirect", strayed.Load())
		}
	})
	for n, p := range provided() {
		for _, b := range behaviours(other.URL) {
			t.Run(fmt.Sprintf("%s-%d %s", p.kind, n, b.name), func(t *testing.T) {
				t.Parallel()
				if p.kind == "sns" && b.again && b.name != "500" && b.name != "hangs" {
					t.Skip("the client of AWS tries again for some seconds: two of these are enough")
				}
				s := p.start(t, false)
				s.instead = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
					if r.Method == http.MethodGet { // A token is fetched first.
						return false
					}
					b.do(w, r, body)
					return true
				}
				more := ""
				if strings.HasPrefix(b.name, "hangs") {
					more = "timeout: 80ms\n"
				}
				r := p.receiver(t, s, env(nil), more)
				answer, err := r.Notify(context.Background(), story(event.PageFiring))
				if err == nil {
					t.Fatalf("taken for delivered: %q", answer)
				}
				if again := !notify.IsPermanent(err); again != b.again {
					t.Errorf("trying again can help: %v, want %v: %v", again, b.again, err)
				}
				// What only looked for something brought nothing.
				if got := notify.ArrivalOf(err); got == event.Arrived || got == event.ArrivalUnknown && !b.maybe || got == event.NotArrived && b.maybe && p.kind != "jira" && s.count() > 0 {
					t.Errorf("it is %s: %v", got, err)
				}
				if in := notify.RetryIn(err); in < b.in-5*time.Second || in > b.in {
					t.Errorf("asks to wait %v, want %v", in, b.in)
				}
				if !strings.Contains(err.Error(), b.says) {
					t.Errorf("says %q, want %q", err, b.says)
				}
				if all := answer + err.Error(); strings.Contains(all, "S3CRET") || strings.Contains(all, "token-inc-1") || len(all) > 4000 {
					t.Errorf("shows a secret, or too much: %s", all)
				}
				if s.count() == 0 && !strings.HasPrefix(b.name, "hangs") {
					t.Error("nothing was sent")
				}
			})
		}
	}
}

func TestARefusalInAnAnswerThatLooksGoodIsNotADelivery(t *testing.T) {
	for _, p := range provided() {
		for i, body := range append(p.lies, p.later...) {
			later := i >= len(p.lies)
			s := p.start(t, false)
			s.instead = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method == http.MethodGet {
					return false
				}
				if strings.HasPrefix(body, "{") {
					w.Header().Set("Content-Type", "application/json")
				}
				_, _ = io.WriteString(w, body)
				return true
			}
			answer, err := p.receiver(t, s, env(nil), "").Notify(context.Background(), story(event.PageFiring))
			if err == nil || notify.IsPermanent(err) == later || strings.Contains(err.Error(), "S3CRET") {
				t.Errorf("%s answers 200 %s: %q, %v; trying again can help: %v", p.kind, body, answer, err, later)
			}
			if strings.Contains(body, "retry_after") && notify.RetryIn(err) != 17*time.Second {
				t.Errorf("%s: asks to wait %v, want 17s", p.kind, notify.RetryIn(err))
			}
		}
	}
}

func TestABadCertificateIsNoDelivery(t *testing.T) {
	for n, p := range provided() {
		t.Run(fmt.Sprintf("%s-%d", p.kind, n), func(t *testing.T) {
			t.Parallel()
			if p.fixed() {
				p.conf = strings.Replace(p.conf, "ca_file: ca.pem, ", "", 1)
			}
			s := p.start(t, true)
			_, err := p.receiver(t, s, env(nil), "").Notify(context.Background(), story(event.PageFiring))
			if notify.ArrivalOf(err) != event.NotArrived || notify.IsPermanent(err) || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "S3CRET") {
				t.Errorf("got %v", err)
			}
			if s.count() > 0 {
				t.Error("something was sent")
			}
		})
	}
}

func TestACancelledPageEndsAtOnce(t *testing.T) {
	for _, p := range provided() {
		s := p.start(t, false)
		ctx, cancel := context.WithCancel(context.Background())
		s.instead = func(w http.ResponseWriter, r *http.Request, b []byte) bool {
			cancel()
			hang(w, r, b)
			return true
		}
		if _, err := p.receiver(t, s, env(nil), "").Notify(ctx, story(event.PageFiring)); !errors.Is(err, context.Canceled) || notify.IsPermanent(err) {
			t.Errorf("%s: %v", p.kind, err)
		}
	}
}

// An answer that its client does not expect makes it panic: telebot asserts that a number is one.
func TestAnAnswerOfTheWrongShapeEndsNothing(t *testing.T) {
	p := telegram()
	s := p.start(t, false)
	s.instead = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.WriteHeader(429)
		_, _ = io.WriteString(w, `{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":"soon"}}`)
		return true
	}
	r := p.receiver(t, s, env(nil), "")
	if _, err := r.Notify(context.Background(), story(event.PageFiring)); err == nil || notify.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	s.instead = nil
	if _, err := r.Notify(context.Background(), story(event.PageFiring)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestATokenThatIsRefusedIsFetchedAgain(t *testing.T) {
	p := wechat()
	s := p.start(t, false)
	r := p.receiver(t, s, env(nil), "")
	s.instead = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method == http.MethodGet {
			return false
		}
		_, _ = io.WriteString(w, `{"errcode":40014,"errmsg":"invalid access_token"}`)
		return true
	}
	if _, err := r.Notify(context.Background(), story(event.PageFiring)); err == nil {
		t.Fatal("delivered")
	}
	s.instead = nil
	before := s.count()
	for range 2 {
		if _, err := r.Notify(context.Background(), story(event.PageFiring)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.count() - before; n != 3 { // A token, and two messages with it.
		t.Errorf("%d requests, want 3", n)
	}
}

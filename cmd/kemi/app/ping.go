package app

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/processors/ping"
)

// pingPath is where jobs of others ping.
const pingPath = "/ping/"

// bell takes pings and puts them on the bus.
type bell struct {
	bus     *bus.Bus
	watches map[string]ping.Watch

	mu   sync.Mutex
	last map[string]time.Time // When the newest ping of each came that was stored.
	kept map[string]time.Time // When the newest of each came that could not be stored yet.

	nudge chan struct{}
}

func newBell(b *bus.Bus, watches map[string]ping.Watch) *bell {
	return &bell{bus: b, watches: watches, last: map[string]time.Time{}, kept: map[string]time.Time{}, nudge: make(chan struct{}, 1)}
}

func (b *bell) register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+pingPath+"{name}", b.ring) // And HEAD.
	mux.HandleFunc("POST "+pingPath+"{name}", b.ring)
}

// ring takes one ping. Whoever pings far too often is answered without filling the bus.
func (b *bell) ring(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	name := r.PathValue("name")
	watch, there := b.watches[name]
	if !there {
		http.Error(w, b.unknown(name), http.StatusNotFound)
		return
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		token = r.URL.Query().Get("token")
	}
	if !watch.Token.IsZero() && !watch.Token.Equal(conf.NewSecret(token)) {
		http.Error(w, "this ping needs its token: Authorization: Bearer …, or ?token=…", http.StatusForbidden)
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 64<<10)) // A job's output is none of our business; so the connection can go on.
	now := time.Now().UTC()
	if b.due(name, watch, now) {
		if err := b.bus.PublishPromptly(r.Context(), &event.Command{Kind: event.Ping, Subject: name, At: now}); err != nil {
			b.keep(name, now)
			w.Header().Set("Retry-After", "10")
			http.Error(w, "the ping could not be stored: try again. Until then this process remembers that it came", http.StatusServiceUnavailable)
			return
		}
		b.stored(name, now)
	}
	fmt.Fprintln(w, "OK")
}

// due reports whether a ping is to be stored: one in a tenth of the interval, but at most ten seconds, is enough.
func (b *bell) due(name string, w ping.Watch, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Sub(b.last[name]) >= min(w.Every/10, 10*time.Second)
}

func (b *bell) stored(name string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at.After(b.last[name]) {
		b.last[name] = at
	}
	if !b.kept[name].After(at) {
		delete(b.kept, name)
	}
}

// unknown says what to do about a name that nobody watches. Of those that need a token it names none.
func (b *bell) unknown(name string) string {
	open := maps.Clone(b.watches)
	maps.DeleteFunc(open, func(_ string, w ping.Watch) bool { return !w.Token.IsZero() })
	text := fmt.Sprintf("nothing is watched by the name %q", name)
	if near := conf.Nearest(name, slices.Sorted(maps.Keys(open))); near != "" {
		return text + fmt.Sprintf(": did you mean %q?", near)
	}
	return text + ": add it to pings in the configuration"
}

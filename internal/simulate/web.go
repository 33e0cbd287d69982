package simulate

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// web is the HTTP side of a running fleet: one server, and one listener for
// each service that answers at the moment.
type web struct {
	fleet     *Fleet
	server    *http.Server
	listeners map[*member]net.Listener // guarded by the fleet's mu
	serving   sync.WaitGroup
}

// serviceKey finds the service a connection belongs to in its context.
type serviceKey struct{}

// boundListener remembers whose it is, for the server's BaseContext.
type boundListener struct {
	net.Listener
	member *member
}

func newWeb(f *Fleet) *web {
	w := &web{fleet: f, listeners: map[*member]net.Listener{}}
	w.server = &http.Server{
		Handler:           http.HandlerFunc(w.answer),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(f.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(l net.Listener) context.Context {
			return context.WithValue(context.Background(), serviceKey{}, l.(boundListener).member)
		},
	}
	return w
}

// set opens or closes the listener of service m. A closed one refuses
// connections; those that are open end at their next request.
func (w *web) set(m *member, open bool) error {
	l := w.listeners[m]
	if open == (l != nil) {
		return nil
	}
	if !open {
		delete(w.listeners, m)
		return l.Close()
	}
	l, err := net.Listen("tcp4", m.addr().String())
	if err != nil {
		return fmt.Errorf("listen for service %s: %w", m.ID, err)
	}
	m.port.Store(uint32(netip.MustParseAddrPort(l.Addr().String()).Port()))
	w.listeners[m] = l
	w.serving.Go(func() {
		// Serve ends with an error when the listener closes, which is the plan.
		_ = w.server.Serve(boundListener{l, m})
	})
	return nil
}

// close ends all listeners and connections.
func (w *web) close() {
	w.fleet.mu.Lock()
	w.fleet.web = nil
	w.server.Close()
	for _, l := range w.listeners { // those that Serve has not taken over yet
		l.Close()
	}
	w.fleet.mu.Unlock()
	w.serving.Wait()
}

// answer is what the service behind the connection says.
func (w *web) answer(rw http.ResponseWriter, r *http.Request) {
	f := w.fleet
	m := r.Context().Value(serviceKey{}).(*member)
	m.asked.Add(1)
	f.count.requests.Add(1)
	st := m.state.Load()
	if st.slow > 0 {
		delay := time.NewTimer(st.slow)
		defer delay.Stop()
		select {
		case <-r.Context().Done():
			return
		case <-delay.C:
		}
	}
	switch {
	case !m.lit.Load():
		f.count.silent.Add(1)
		panic(http.ErrAbortHandler) // cuts the connection without an answer
	case st.lossy > 0 && m.draw()*100 < st.lossy:
		f.count.lost.Add(1)
		panic(http.ErrAbortHandler)
	}
	m.told.Add(1)
	f.count.answers.Add(1)
	if st.mangle == Garbage {
		if conn, _, err := rw.(http.Hijacker).Hijack(); err == nil {
			_, _ = conn.Write(m.garbage(make([]byte, 256)))
			conn.Close()
		}
		return
	}
	code, body := http.StatusNotFound, `{"error":"not found: ask for /health"}`
	if r.URL.Path == "/health" {
		code, body = http.StatusOK, `{"status":"ok"}`
		if st.unhealthy {
			code, body = http.StatusServiceUnavailable, `{"status":"error"}`
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			rw.Header().Set("Allow", "GET, HEAD")
			code, body = http.StatusMethodNotAllowed, `{"error":"method not allowed: use GET"}`
		}
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
	rw.WriteHeader(code)
	if st.mangle == Truncated {
		body = body[:len(body)/2] // the server cuts the connection then
	}
	_, _ = io.WriteString(rw, body)
}

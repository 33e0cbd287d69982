package alertmanager

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/internal/conf"
)

const (
	maxAnswer = 512     // Characters of an answer that are shown.
	maxKept   = 1 << 14 // Bytes of an answer in which secrets are looked for, before it is cut.
	maxBody   = 1 << 20 // Bytes of an answer that are read.
)

// wire carries the requests of one sender and notes what is answered.
type wire struct {
	next  http.RoundTripper
	agent bool // The User-Agent may be set: it is not signed.
	ctx   context.Context
	last  exchange
	// unclear says that a request before the last may have brought the page.
	unclear bool
}

// exchange is the last request of a page and what became of it.
type exchange struct {
	requests int  // All of this page.
	sent     bool // Something of it may have left: there was a connection.
	asks     bool // It only looks for something, or fetches a token.
	err      error
	status   int
	answer   string
	body     []byte
	after    time.Duration
	token    conf.Secret // That was fetched on the way, and is not known from the settings.
}

// begin is called before each page. Some notifiers do not hand the context down, so the wire has it.
func (w *wire) begin(ctx context.Context) { w.ctx, w.last, w.unclear = ctx, exchange{}, false }

// asks says whether a request brings no page: it reads, such as a token, or searches, such as for the issue in Jira.
func asks(req *http.Request) bool {
	return req.Method == http.MethodGet || strings.Contains(req.URL.Path, "/search")
}

// maybe reports whether the request may have brought the page.
func (x *exchange) maybe() bool { return x.sent && !x.asks && !post.Refuses(x.status, x.after) }

// RoundTrip implements http.RoundTripper. It reads answers to their end, so that a body that hangs counts as a request
// that hangs.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	out := req.Clone(ctx)
	if w.agent {
		out.Header.Set("User-Agent", "Kemi")
	}
	w.unclear = w.unclear || w.last.maybe()
	w.last = exchange{requests: w.last.requests + 1, asks: asks(req)}
	x := &w.last
	out = out.WithContext(httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { x.sent = true }}))
	x.token = conf.NewSecret(req.URL.Query().Get("access_token"))
	resp, err := w.next.RoundTrip(out)
	if err != nil {
		x.err = post.Bare(err)
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	_ = resp.Body.Close() // What was read is what counts.
	if err == nil {
		err = cmp.Or(w.ctx.Err(), ctx.Err()) // What ends because we hung up is no answer.
	}
	if err == nil && len(body) > maxBody {
		err = errors.New("the receiver's answer is larger than 1 MiB")
	}
	if err != nil {
		x.err = post.Bare(err)
		return nil, err
	}
	x.status, x.body = resp.StatusCode, body
	x.answer = strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)
	if req.Method != http.MethodGet { // What is fetched on the way may be a token.
		x.answer += " " + strings.ToValidUTF8(string(body[:min(len(body), maxKept)]), "\uFFFD")
	}
	x.answer = strings.TrimSpace(x.answer)
	x.after = max(post.RetryAfter(resp.Header.Get("Retry-After"), time.Now()), afterIn(body))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// CloseIdleConnections lets http.Client reach what is below.
func (w *wire) CloseIdleConnections() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// cut makes one line of a text, of at most so many characters.
func cut(s string, most int) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(r)
}

// afterIn reads how long to wait from a body: Telegram and Discord say it there, in seconds.
// Source: core.telegram.org/bots/api, ResponseParameters; discord.com/developers/docs/topics/rate-limits.
func afterIn(body []byte) time.Duration {
	var a struct {
		RetryAfter float64 `json:"retry_after"`
		Parameters struct {
			RetryAfter float64 `json:"retry_after"`
		} `json:"parameters"`
	}
	if json.Unmarshal(body, &a) != nil {
		return 0
	}
	return time.Duration(max(0, min(max(a.RetryAfter, a.Parameters.RetryAfter), post.Longest.Seconds())) * float64(time.Second))
}

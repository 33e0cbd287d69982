package web

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// pace is how fast a body has to come.
type pace struct {
	first time.Duration // For all of it, and besides:
	rate  int           // bytes a second.
}

// bodies have 20 s, and a second more for each 16 KiB that came: a line of 128 kbit/s is fast enough, and a client that sends a
// byte now and then is gone soon.
var bodies = pace{first: 20 * time.Second, rate: 16 << 10}

// slow cuts off whoever sends a body too slowly. Requests without a body are left alone: their answers may take as long as
// they like, and so may those of requests whose body was read.
func slow(p pace, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), pace: p, began: time.Now(), left: r.ContentLength}
			b.extend()
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

// body is what a client sends.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	pace    pace
	began   time.Time
	read    int64
	left    int64 // Bytes; negative when nobody said how many.
	over    bool
}

// extend moves the deadline by what came. Where there is none to be set (a recorder in a test) nothing is cut off.
func (b *body) extend() {
	_ = b.control.SetReadDeadline(b.began.Add(b.pace.first + time.Duration(float64(b.read)/float64(b.pace.rate)*float64(time.Second))))
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.over {
		return b.ReadCloser.Read(p)
	}
	n, err := b.ReadCloser.Read(p)
	if b.read += int64(n); errors.Is(err, io.EOF) || b.read == b.left {
		// From now on the connection is only listened to for the client's leaving.
		b.over = true
		_ = b.control.SetReadDeadline(time.Time{})
		return n, err
	}
	b.extend()
	return n, err
}

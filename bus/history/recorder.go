package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Recorder writes the log of one process. It is safe for concurrent use.
type Recorder struct {
	process string
	began   time.Time

	mu      sync.Mutex
	w       io.Writer
	file    *os.File // Nil when w is another's.
	buf     []byte
	err     error
	last    int64
	calls   int64
	drivers int
	feeds   int
}

// NewRecorder writes lines to w, several at once. The name of the process is different for each log of a run.
func NewRecorder(w io.Writer, process string) *Recorder {
	return &Recorder{process: process, began: time.Now(), w: w}
}

// Create makes the file of a log; one that exists is an error, since it belongs to another process.
func Create(path, process string) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	r := NewRecorder(f, process)
	r.file = f
	return r, nil
}

// Close writes what is left. Calls that end afterwards are not known to have.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
	err := r.err
	if r.file != nil {
		err = errors.Join(err, r.file.Close())
		r.file = nil
	}
	r.w = io.Discard
	return err
}

// Err is what went wrong with writing: the log ends there.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Fault notes what is done to the run, until over is called. What is done and over at once, such as kill -9, has its effects
// for a while: call over when the run is whole again.
func (r *Recorder) Fault(what string) (over func()) {
	call := r.begin(&Event{Op: OpFault, Fault: what})
	return sync.OnceFunc(func() { r.end(call, OK, nil) })
}

// now is later with each call: the clock when the log began and what has gone since, whatever the clock does meanwhile.
// The mutex is held.
func (r *Recorder) now() int64 {
	r.last = max(r.last+1, r.began.UnixNano()+int64(time.Since(r.began)))
	return r.last
}

// begin writes the first line of a call, and everything before it, to the file.
func (r *Recorder) begin(e *Event) (call int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	e.Call = r.calls
	r.line(e)
	r.flush()
	return e.Call
}

// end writes the second line of a call, some time.
func (r *Recorder) end(call int64, outcome Outcome, err error) {
	e := Event{Op: OpEnd, Call: call, Outcome: outcome}
	if err != nil && outcome != Fenced {
		e.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line(&e)
}

// tell writes lines that are no calls, some time.
func (r *Recorder) tell(es ...Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range es {
		r.line(&es[i])
	}
}

// enough is how much is kept back for the next call's line.
const enough = 1 << 16

func (r *Recorder) line(e *Event) {
	e.At, e.Process = r.now(), r.process
	line, err := json.Marshal(e)
	if err != nil {
		r.err = errors.Join(r.err, err)
		return
	}
	if r.buf = append(append(r.buf, line...), '\n'); len(r.buf) > enough {
		r.flush()
	}
}

func (r *Recorder) flush() {
	if len(r.buf) == 0 || r.err != nil {
		return
	}
	if _, err := r.w.Write(r.buf); err != nil {
		r.err = fmt.Errorf("write log of %s: %w", r.process, err)
	}
	r.buf = r.buf[:0]
}

// judge is what the error of a Publish means: n is how many records it had.
func judge(err error, n int) Outcome {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, driver.ErrFenced):
		return Fenced
	case errors.Is(err, driver.ErrTooLarge), errors.Is(err, driver.ErrNoTopic), n <= 1 && errors.Is(err, driver.ErrFull):
		return Failed
	}
	return Unknown // Of several records some may be stored although the topic is full.
}

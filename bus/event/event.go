// Package event holds the words that Kemi's rooms speak to each other and that teams may read.
//
// In: nothing; it imports only the standard library and its own generated protobuf.
// Out: Target, Job, Reading, Finding, Alert, Incident, Page and Command, each with its topic, its computed
// identity, its key and its wire form.
// It promises that the same fact always has the same identity, so that saying it twice does no harm, and that
// every wire form ever written (see testdata) can be read for ever.
// It never reads a clock and never does I/O.
package event

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Event is what the bus needs to know of a word.
type Event interface {
	// Topic is where it is published.
	Topic() Topic
	// Identity is computed from what the event says: equal facts have equal identities.
	Identity() string
	// Key names the thing the event is about; keep-latest topics keep the newest event of each key.
	Key() string
	// Route decides the partition: events of one route are delivered in order, to one owner.
	Route() string
	// Encode gives the wire form.
	Encode() ([]byte, error)
}

// Word is the pointer to a T that is an Event and can be decoded: the constraint of the generic bus functions.
type Word[T any] interface {
	*T
	Event
	// Decode reads the wire form into the receiver; the error says what is wrong with the bytes.
	Decode(data []byte) error
}

// ErrMalformed is wrapped by every Decode error: the bytes will be no better next time.
var ErrMalformed = errors.New("malformed event")

func malformed(word string, err error) error {
	return fmt.Errorf("decode %s: %w: %w", word, ErrMalformed, err)
}

// idEncoding is base32hex in small letters.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// ComputeID derives an identity of 26 characters from its parts; the parts are length-delimited, so that
// ("ab", "c") and ("a", "bc") differ.
func ComputeID(parts ...string) string {
	said := make([]byte, 0, 512) // Most fit, and stay on the stack.
	for _, p := range parts {
		said = appendPart(said, p)
	}
	return idOf(said)
}

// appendPart adds a part to those that an identity is computed from.
func appendPart(said []byte, part string) []byte {
	return append(binary.LittleEndian.AppendUint64(said, uint64(len(part))), part...)
}

func idOf(said []byte) string {
	sum := sha256.Sum256(said)
	var id [26]byte
	idEncoding.Encode(id[:], sum[:16])
	return string(id[:])
}

// millis and fromMillis carry times as Unix milliseconds, with 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Reason says why something was decided: a code for machines and metrics, a sentence for people, and the
// identities of what caused it, so that `kemi why` can walk back to the packet.
type Reason struct {
	// Code is for machines; new ones may come with any version.
	Code string `json:"code"`
	// Text is for people.
	Text string `json:"text,omitempty"`
	// Causes are the identities of the events and targets that led here.
	Causes []string `json:"causes,omitempty"`
}

// write implements written.
func (r *Reason) write(w *writer) {
	w.text("code", r.Code)
	w.some("text", r.Text)
	w.someTexts("causes", r.Causes)
}

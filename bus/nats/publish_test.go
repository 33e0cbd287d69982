package nats

import (
	"encoding/json"
	"testing"
)

// The short way to read an answer and JSON never differ.
func FuzzTheAnswerToARecord(f *testing.F) {
	for _, s := range []string{
		`{"stream":"kemi_things_v1","seq":7}`, `{"stream":"s", "seq":7,"duplicate": true}`, `{"stream":"s","seq":12,"batch":"x","count":3}`,
		`{"error":{"code":400,"err_code":10071},"stream":"s","seq":0}`, `{"stream":"s","domain":"d","seq":9}`, `{"stream":"s","seq":-1}`,
		`{"stream":"s","seq":99999999999999999999}`, `{"stream":"s","seq":7`, `{"stream":"s","seq":}`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := sequence([]byte(s))
		var want struct {
			Seq uint64 `json:"seq"`
		}
		if err := json.Unmarshal([]byte(s), &want); got != 0 && err == nil && got != want.Seq {
			t.Errorf("%q: got %d, want %d", s, got, want.Seq)
		}
	})
}

func TestTheUsualAnswerIsReadTheShortWay(t *testing.T) {
	for s, want := range map[string]uint64{
		`{"stream":"kemi_things_v1","seq":7}`: 7, `{"stream":"s", "seq":7,"duplicate": true}`: 7, `{"stream":"s","domain":"d","seq":9}`: 0, `{"stream":"s","seq":7`: 0,
		`{"error":{"code":400},"stream":"s","seq":0}`: 0, `{"stream":"","seq":3}`: 0,
		`{"stream":"s","seq":7,"duplicate": true}`: 7, `{"stream":"s","seq":7,"batch":"b","count":2}`: 0,
	} {
		if got := sequence([]byte(s)); got != want {
			t.Errorf("%s: got %d, want %d", s, got, want)
		}
	}
}

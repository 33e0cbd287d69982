package source

import (
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Text is a word of a configuration with its place.
type Text struct {
	At   conf.Pos
	Text string
}

// UnmarshalConf implements conf.Unmarshaler.
func (t *Text) UnmarshalConf(n conf.Node) conf.Problems {
	if n.Kind() != conf.Scalar {
		return conf.Problems{n.Problem("expected text, got "+n.Kind().String(), "write a single value, or remove the key")}
	}
	t.At, t.Text = n.Pos(), n.Text()
	return nil
}

// Given reports whether the word was written at all.
func (t Text) Given() bool { return t.At.Line > 0 }

// Span is a duration of a configuration with its place.
type Span struct {
	At     conf.Pos
	Length time.Duration
}

// UnmarshalConf implements conf.Unmarshaler.
func (s *Span) UnmarshalConf(n conf.Node) conf.Problems {
	problems := n.Into(&s.Length)
	if len(problems) == 0 {
		s.At = n.Pos()
	}
	return problems
}

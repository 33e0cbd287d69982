package driver

import (
	"errors"
	"strings"
	"testing"
)

// An error of one topic does not hide which others are not as they have to be, nor that there are some: waiting for a broker
// mends the one and not the others.
func TestAnErrorDoesNotHideWhatDiffers(t *testing.T) {
	topics := []Topic{{Name: "b"}, {Name: "a"}, {Name: "well"}, {Name: "bad"}, {Name: "never"}}
	says := map[string]error{"a": Differs(errors.New("3 partitions")), "b": Differs(errors.New("compacted")), "bad": ErrAway, "never": errors.New("asked")}
	ensure := func(only ...string) error {
		return EnsureEach(topics, func(t Topic) error {
			for _, name := range only {
				if name == t.Name {
					return says[name]
				}
			}
			return nil
		})
	}
	for _, c := range []struct {
		wrong         []string
		want          string
		differs, away bool
	}{
		{nil, "", false, false},
		{[]string{"bad", "never"}, "ensure topic bad: " + ErrAway.Error(), false, true},
		{[]string{"a"}, "ensure topic a: 3 partitions", true, false},
		{[]string{"a", "b"}, "ensure topics: 2 of 5 are not what they have to be: topic a: 3 partitions; topic b: compacted", true, false},
		{[]string{"a", "bad", "b"}, "ensure topic bad: " + ErrAway.Error() + "; and not as they have to be: topic a: 3 partitions; topic b: compacted", true, true},
	} {
		err := ensure(c.wrong...)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != c.want || errors.Is(err, ErrDiffers) != c.differs || errors.Is(err, ErrAway) != c.away {
			t.Errorf("%s: got %q, differs %v, away %v", strings.Join(c.wrong, ","), text, errors.Is(err, ErrDiffers), errors.Is(err, ErrAway))
		}
	}
}

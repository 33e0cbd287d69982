package driver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrDiffers: a topic is there and is not what it has to be. Somebody has to change it, or what is configured.
var ErrDiffers = errors.New("the topic is not what it has to be")

// Differs marks an error as one that wraps ErrDiffers, without another word.
func Differs(err error) error { return differs{err} }

type differs struct{ error }

// Is implements the interface of errors.Is.
func (d differs) Is(target error) bool { return target == ErrDiffers }

// Unwrap implements the interface of errors.As and errors.Is.
func (d differs) Unwrap() error { return d.error }

// EnsureEach calls ensure for each of the topics. Those that differ do not end it: the error names all of them, by name.
func EnsureEach(topics []Topic, ensure func(Topic) error) error {
	var all []string
	var err error
	for _, t := range topics {
		switch one := ensure(t); {
		case one == nil:
		case errors.Is(one, ErrDiffers):
			err = fmt.Errorf("ensure topic %s: %w", t.Name, one)
			all = append(all, fmt.Sprintf("topic %s: %v", t.Name, one))
		default:
			other := fmt.Errorf("ensure topic %s: %w", t.Name, one)
			if err != nil { // It does not hide what was found before it.
				slices.Sort(all)
				return Differs(fmt.Errorf("%w; and not as they have to be: %s", other, strings.Join(all, "; ")))
			}
			return other
		}
	}
	if len(all) <= 1 {
		return err
	}
	slices.Sort(all)
	return Differs(fmt.Errorf("ensure topics: %d of %d are not what they have to be: %s", len(all), len(topics), strings.Join(all, "; ")))
}

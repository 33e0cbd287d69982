package bus

import (
	"fmt"
	"mime"
	"strconv"
	"strings"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// expects says what is wrong with what a record says of itself, nil when it may be a word of the topic. A record that
// says nothing may be: other producers need no headers of ours.
func expects(t event.Topic, r *driver.Record) error {
	if got := r.Header(headerWord); got != "" && got != t.Word {
		if newerVersion(got, t.Word) {
			return fmt.Errorf("the record is a %s, a newer version of %s: this Kemi is too old for it", got, t.Word)
		}
		return fmt.Errorf("the record is a %s, expected a %s", got, t.Word)
	}
	got := r.Header(headerType)
	if got == "" || got == t.ContentType || t.ContentType == "" {
		return nil
	}
	if media, _, err := mime.ParseMediaType(got); err != nil || !strings.EqualFold(media, t.ContentType) {
		return fmt.Errorf("the content type is %q, expected %s", got, t.ContentType)
	}
	return nil
}

// newerVersion reports whether two words are of one name and the first has the greater version: dev.kemi.alert.v2 and
// dev.kemi.alert.v1.
func newerVersion(got, want string) bool {
	gotName, gotVersion, ok := cutVersion(got)
	wantName, wantVersion, _ := cutVersion(want)
	return ok && gotName == wantName && gotVersion > wantVersion
}

func cutVersion(word string) (name string, version int, ok bool) {
	i := strings.LastIndex(word, ".v")
	if i < 0 {
		return word, 0, false
	}
	version, err := strconv.Atoi(word[i+2:])
	return word[:i], version, err == nil
}

// readable decodes a record of any topic, or says why that cannot be done.
func (b *Bus) readable(r *driver.Record) (event.Event, error) {
	if err := expects(b.topics[r.Topic], r); err != nil {
		return nil, err
	}
	value, err := unpack(r)
	if err != nil {
		return nil, err
	}
	return parse(r.Topic, value)
}

// parse decodes what a topic carries, also of those that are the bus's own.
func parse(topic string, value []byte) (event.Event, error) {
	if topic != topicAgain.Name {
		return event.Parse(topic, value)
	}
	r := new(Redelivery)
	if err := r.Decode(value); err != nil {
		return nil, err
	}
	return r, nil
}

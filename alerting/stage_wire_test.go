package alerting

import (
	"encoding/json"
	"fmt"

	"kemi.dev/kemi/bus/event"
)

// through gives what a reader of the wire form gets.
func (s *stage) through(i *event.Incident) *event.Incident {
	data, err := json.Marshal(i)
	if err != nil {
		s.t.Fatal(err)
	}
	s.sizes = append(s.sizes, len(data))
	var out event.Incident
	if err := json.Unmarshal(data, &out); err != nil {
		s.t.Fatal(err)
	}
	return &out
}

func (s *stage) name(id string) string {
	if s.names[id] == "" {
		s.names[id] = fmt.Sprintf("I%d", len(s.names)+1)
	}
	return s.names[id]
}

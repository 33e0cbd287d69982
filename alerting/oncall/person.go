package oncall

import (
	"net/mail"
	"strings"
	"unicode"

	"kemi.dev/kemi/internal/conf"
)

// Person is somebody who can be on call, as it stands under `people:` with the person's key.
type Person struct {
	conf.Pos
	// Name for people to read; empty is the key.
	Name string `yaml:"name"`
	// Mail and Phone are addresses; either may be missing.
	Mail  string `yaml:"mail"`
	Phone string `yaml:"phone"`
	// Timezone (IANA) in which times are shown to the person, and Leaves is meant; empty is the schedule's.
	Timezone string `yaml:"timezone"`
	// Handles are addresses by receiver or kind of receiver: a chat's user id, a pager's routing key.
	Handles map[string]conf.Secret `yaml:"handles"`
	// Ways are receivers, the one to be tried first before the others.
	Ways []string `yaml:"ways"`
	// Leaves is from when on the person is never on call any more; not given is never. Turns that would be theirs go
	// to whoever comes after them in the rotation, and everybody else's turns stay where they are.
	Leaves Local `yaml:"leaves"`
}

// Validate implements conf.Validator.
func (p *Person) Validate() []conf.Complaint {
	var all []conf.Complaint
	if _, err := zone(p.Timezone); err != nil {
		all = append(all, unknownZone(p.Timezone))
	}
	if p.Mail != "" {
		if a, err := mail.ParseAddress(p.Mail); err != nil || a.Address != p.Mail {
			all = append(all, conf.Complaint{Field: "mail", What: "mail is not an address", Do: "write it like jo@example.org"})
		}
	}
	if strings.Trim(p.Phone, "+0123456789 -()./") != "" {
		all = append(all, conf.Complaint{Field: "phone", What: "phone is not a number", Do: "write it like \"+82 10 1234 5678\""})
	}
	if len(p.Ways) == 0 && len(p.Handles) == 0 && p.Mail == "" && p.Phone == "" {
		all = append(all, conf.Complaint{What: "there is no way to reach this person", Do: "write ways: and the names of receivers, and the addresses that these need"})
	}
	return all
}

// personKey complains about keys that would be misread where people are named together with other things.
func personKey(key string, at conf.Pos) conf.Problems {
	bad := func(c rune) bool {
		return unicode.IsSpace(c) || unicode.IsControl(c) || strings.ContainsRune("/,;:\"'", c)
	}
	if key == "" || strings.ContainsFunc(key, bad) {
		return conf.Problems{at.Problem("\""+key+"\" cannot be the key of a person", "use letters, digits, - and _; the full name goes into name:")}
	}
	return nil
}

func unknownZone(name string) conf.Complaint {
	return conf.Complaint{Field: "timezone", What: "there is no timezone \"" + name + "\"", Do: "use a name of the IANA list, such as Asia/Seoul or Europe/Berlin"}
}

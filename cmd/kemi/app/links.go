package app

import (
	"path/filepath"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/ack"
	"kemi.dev/kemi/internal/conf"
)

// linkKeyFile is the name of the key of links in the data directory of a process that has its bus to itself.
const linkKeyFile = "link.key"

// ackURL is the link with which whoever gets a page acknowledges; empty when there is none to be had.
func (a *App) ackURL(p *event.Page) string {
	if a.ack == nil { // Of a room that only tries a receiver out, or is only checked.
		return ""
	}
	return a.ack.URL(p)
}

// loadLinkKey reads the key of the links, if this process makes or serves any. Processes that share a bus have to have
// one key, and of that the configuration must know: without it there are no links.
func (a *App) loadLinkKey() error {
	if !a.has(RoleAPI) && !a.has(RoleAlerting) {
		return nil
	}
	configured := a.Config.Alerting.Get("link_key_file").Text()
	file := a.Config.Path(configured)
	switch {
	case configured != "":
	case a.alone:
		file = filepath.Join(a.data, linkKeyFile)
	default:
		a.scope.Log().Info("pages have no link to acknowledge: set alerting: {link_key_file: …}, the same for every process on this bus")
		return nil
	}
	key, err := ack.ReadKey(file, configured == "")
	if err != nil {
		return err
	}
	a.ack.SetKey(key)
	return nil
}

// checkLinkKey says what is wrong with the key that the configuration names.
func (a *App) checkLinkKey() conf.Problems {
	n := a.Config.Alerting.Get("link_key_file")
	if n.Text() == "" {
		return nil
	}
	if _, err := ack.ReadKey(a.Config.Path(n.Text()), false); err != nil {
		return conf.Problems{n.Problem(err.Error(), "every process on this bus needs the same key")}
	}
	return nil
}

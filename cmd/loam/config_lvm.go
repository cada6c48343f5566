package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/loam-storage/loam/driver/pool/lvm"
)

func parseLVM(pool section) (lvm.Config, error) {
	s, err := newSection(pool.where+": lvm", pool.values["lvm"])
	if err != nil {
		return lvm.Config{}, err
	}
	if err := s.only("volumeGroup", "thinPool", "type", "stripes", "mirrors", "reserve", "overprovision", "extend", "wipe", "devices", "create"); err != nil {
		return lvm.Config{}, err
	}
	if !s.has("volumeGroup") {
		return lvm.Config{}, s.wrong("volumeGroup", "is missing: it says which volume group the pool is in")
	}
	group, groupErr := s.text("volumeGroup")
	thin, thinErr := s.text("thinPool")
	layout, typeErr := s.text("type")
	stripes, stripesErr := s.number("stripes", 1, 64)
	mirrors, mirrorsErr := s.number("mirrors", 1, 64)
	reserve, percent, reserveErr := s.reserve()
	overprovision, overErr := s.ratio("overprovision")
	extendAt, extendBy, extendErr := s.extend()
	wipe, wipeErr := s.text("wipe")
	devices, devicesErr := s.texts("devices")
	create, createErr := s.truth("create")
	if err := errors.Join(groupErr, thinErr, typeErr, stripesErr, mirrorsErr, reserveErr, overErr, extendErr, wipeErr, devicesErr, createErr); err != nil {
		return lvm.Config{}, err
	}
	c := lvm.Config{
		VolumeGroup: group, ThinPool: thin, Type: lvm.Type(layout), Stripes: int(stripes), Mirrors: int(mirrors),
		ReserveBytes: reserve, ReservePercent: percent, Overprovision: overprovision,
		ExtendAt: extendAt, ExtendBy: extendBy, Wipe: lvm.Wipe(wipe),
		Devices: devices, Create: create,
	}
	if err := c.Check(); err != nil {
		return lvm.Config{}, fmt.Errorf("%s: %w", s.where, err)
	}
	return c, nil
}

// extend returns at how many percent a thin pool is extended, and by how many. Zeros where there is no such key.
func (s section) extend() (at, by int, err error) {
	if !s.has("extend") {
		return 0, 0, nil
	}
	e, err := newSection(s.where+": extend", s.values["extend"])
	if err != nil {
		return 0, 0, err
	}
	if err := e.only("at", "by"); err != nil {
		return 0, 0, err
	}
	at, atErr := e.percent("at")
	by, byErr := e.percent("by")
	return at, by, errors.Join(atErr, byErr)
}

func (s section) percent(key string) (int, error) {
	text, err := s.text(key)
	if err != nil {
		return 0, err
	}
	m := percentPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, s.wrong(key, "%.64q is not a percentage from 1%% to 99%%", text)
	}
	return strconv.Atoi(m[1])
}

// texts returns the list of texts under key, nil where there is no such key.
func (s section) texts(key string) ([]string, error) {
	raw, ok := s.values[key]
	if !ok {
		return nil, nil
	}
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil || len(texts) == 0 {
		return nil, s.wrong(key, "%.64s is not a list of texts, such as [/dev/sdb, /dev/sdc]", raw)
	}
	return texts, nil
}

// truth returns false where there is no such key.
func (s section) truth(key string) (bool, error) {
	raw, ok := s.values[key]
	if !ok {
		return false, nil
	}
	var truth bool
	if err := json.Unmarshal(raw, &truth); err != nil || string(raw) == "null" {
		return false, s.wrong(key, "%.64s is neither true nor false", raw)
	}
	return truth, nil
}

package config

import "github.com/loam-storage/loam/driver/volume"

// Space says how much of what a pool has it gives out.
type Space struct {
	// What is never given out: so many bytes, or so many percent of the whole. At most one of them is set.
	ReserveBytes   volume.Size
	ReservePercent int

	Overprovision float64 // how many times its size the pool promises; 0 is 1
}

// Space returns what the keys reserve and overprovision of the section say. A reserve without a unit could mean bytes and
// percent, and is refused.
func (s *Section) Space() Space {
	space := Space{Overprovision: s.Ratio("overprovision")}
	text := s.Text("reserve")
	if text == "" {
		return space
	}
	var ok bool
	if space.ReservePercent, ok = parsePercent(text); ok {
		return space
	}
	var err error
	if space.ReserveBytes, err = parseSize(text); err != nil {
		s.Wrong("reserve", "%q is neither a size such as 10Gi nor a percentage from 0%% to 99%%", text)
	}
	return space
}

// Check says whether a pool can give out its space so. The kind of its error is Invalid.
func (s Space) Check() error {
	switch {
	case s.Overprovision != 0 && (s.Overprovision < 1 || s.Overprovision > 100):
		return volume.Errorf(volume.Invalid, "overprovision %g is not between 1 and 100", s.Overprovision)
	case s.ReserveBytes < 0 || s.ReservePercent < 0 || s.ReservePercent > 99:
		return volume.Errorf(volume.Invalid, "reserve is not a size, or a percentage from 0%% to 99%%")
	case s.ReserveBytes != 0 && s.ReservePercent != 0:
		return volume.Errorf(volume.Invalid, "reserve is given both in bytes and in percent: choose one")
	}
	return nil
}

// Ratio returns how many times its size the pool promises.
func (s Space) Ratio() float64 { return max(s.Overprovision, 1) }

// Reserve returns the bytes to keep back of a whole of the given size.
func (s Space) Reserve(total volume.Size) volume.Size {
	return s.ReserveBytes + total/100*volume.Size(s.ReservePercent)
}

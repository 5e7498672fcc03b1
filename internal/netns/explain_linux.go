package netns

func explain(step string, err error) error { return &Error{Step: step, Err: err} }

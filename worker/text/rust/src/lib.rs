pub fn warm(s: &str) -> bool { tokenizers::Tokenizer::from_bytes(s).is_ok() && minijinja::Environment::new().template_from_str(s).is_ok() }

//! The tokenizer entry points. A handle is immutable once mg_text_tokenizer_new returned, so threads share it.
use crate::{guarded, Buffer, Failure, Ids, Slice};
use tokenizers::{AddedToken, Tokenizer};

pub struct TokenizerHandle(Tokenizer);

fn assert_shareable<T: Send + Sync>() {}

fn invalid(error: tokenizers::Error) -> Failure {
    Failure::invalid(error.to_string())
}

/// Adds the tokens that only tokenizer_config.json declares, as transformers does; an id that would not be the
/// declared one would read another token's embedding, so it is an error.
fn add_declared_tokens(tokenizer: &mut Tokenizer, declared: &str) -> Result<(), Failure> {
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(declared)
        .map_err(|e| Failure::invalid(format!("added_tokens_decoder: {e}")))?;
    let mut tokens = Vec::new();
    for (key, value) in &parsed {
        let id: u32 = key
            .parse()
            .map_err(|_| Failure::invalid(format!("added_tokens_decoder: '{key}' is not a token id")))?;
        let content = value["content"].as_str().ok_or_else(|| {
            Failure::invalid(format!("added_tokens_decoder: token {key} has no string 'content'"))
        })?;
        let flag = |name: &str, otherwise: bool| value[name].as_bool().unwrap_or(otherwise);
        let special = flag("special", false);
        let token = AddedToken::from(content, special)
            .single_word(flag("single_word", false))
            .lstrip(flag("lstrip", false))
            .rstrip(flag("rstrip", false))
            .normalized(flag("normalized", !special));
        tokens.push((id, token));
    }
    tokens.sort_by_key(|(id, _)| *id);
    for (id, token) in tokens {
        let content = token.content.clone();
        let known = tokenizer.token_to_id(&content).is_some();
        tokenizer.add_tokens([token]).map_err(invalid)?;
        let got = tokenizer.token_to_id(&content);
        if !known && got != Some(id) {
            return Err(Failure::invalid(format!(
                "added_tokens_decoder: token {id} '{content}' is not in tokenizer.json, where the next free id is {}",
                got.map_or("none".to_string(), |got| got.to_string())
            )));
        }
    }
    Ok(())
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_tokenizer_new(
    json: Slice,
    added_tokens_decoder: Slice,
    out: *mut *mut TokenizerHandle,
    error: *mut Buffer,
) -> i32 {
    guarded(error, || {
        assert_shareable::<Tokenizer>();
        let mut tokenizer = Tokenizer::from_bytes(json.bytes()).map_err(invalid)?;
        add_declared_tokens(&mut tokenizer, added_tokens_decoder.text("added_tokens_decoder")?)?;
        // What a training script left in the file must not cut or pad our prompts.
        tokenizer.with_truncation(None).map_err(invalid)?;
        tokenizer.with_padding(None);
        out.write(Box::into_raw(Box::new(TokenizerHandle(tokenizer))));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_tokenizer_free(tokenizer: *mut TokenizerHandle) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_tokenizer_encode(
    tokenizer: *const TokenizerHandle,
    text: Slice,
    add_special_tokens: bool,
    out: *mut Ids,
    error: *mut Buffer,
) -> i32 {
    guarded(error, || {
        let text = text.text("text")?;
        let encoding = (*tokenizer).0.encode_fast(text, add_special_tokens).map_err(invalid)?;
        out.write(Ids::from_vec(encoding.get_ids().to_vec()));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_tokenizer_encode_batch(
    tokenizer: *const TokenizerHandle,
    texts: *const Slice,
    count: usize,
    add_special_tokens: bool,
    ends: *mut usize,
    out: *mut Ids,
    error: *mut Buffer,
) -> i32 {
    guarded(error, || {
        let mut inputs = Vec::with_capacity(count);
        for i in 0..count {
            inputs.push((*texts.add(i)).text(&format!("text {i}"))?);
        }
        let encodings =
            (*tokenizer).0.encode_batch_fast(inputs, add_special_tokens).map_err(invalid)?;
        let mut ids = Vec::new();
        for (i, encoding) in encodings.iter().enumerate() {
            ids.extend_from_slice(encoding.get_ids());
            ends.add(i).write(ids.len());
        }
        out.write(Ids::from_vec(ids));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_tokenizer_decode(
    tokenizer: *const TokenizerHandle,
    ids: *const u32,
    count: usize,
    skip_special_tokens: bool,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guarded(error, || {
        let ids: &[u32] = if count == 0 { &[] } else { std::slice::from_raw_parts(ids, count) };
        let text = (*tokenizer).0.decode(ids, skip_special_tokens).map_err(invalid)?;
        out.write(Buffer::from_string(text));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_tokenizer_vocab_size(tokenizer: *const TokenizerHandle) -> usize {
    (*tokenizer).0.get_vocab_size(true)
}

/// The id, or -1 when no token is spelt so.
#[no_mangle]
pub unsafe extern "C" fn mg_text_tokenizer_token_id(tokenizer: *const TokenizerHandle, token: Slice) -> i64 {
    match token.text("token") {
        Ok(token) => (*tokenizer).0.token_to_id(token).map_or(-1, i64::from),
        Err(_) => -1,
    }
}
